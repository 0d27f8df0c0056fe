import { useSignal } from "@preact/signals";
import type { AuthorityInfo, CacheInfo, KeyInfo } from "../../../src/control/api.ts";
import { ask, may } from "../api.ts";
import { number, percent } from "../format.ts";
import { Lamp, type LampState } from "../parts/marks.tsx";
import { Answer, CopyButton, Empty, Failure, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { now, Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

const MONTH = 30 * 86_400_000;

export function CertificatesPage() {
  const authorities = useResource<readonly AuthorityInfo[]>("/ca", 30_000);
  const keys = useResource<readonly KeyInfo[]>("/keys", 30_000);
  const caches = useResource<readonly CacheInfo[]>("/caches", 5_000);
  return (
    <div class="page">
      <Panel
        title={T.certificates.authorities}
        call="/ca"
        command="clearline ca show"
        hint={T.certificates.steps}
        aside={
          <span class="aside">
            <Steps of={authorities.data ?? []} onDone={authorities.again} />
            <a class="button small" href="/ca">
              {T.certificates.download}
            </a>
          </span>
        }
      >
        <Answer of={authorities}>{(all) => <Authorities of={all} />}</Answer>
      </Panel>
      <Panel title={T.certificates.keys} call="/keys" command="clearline keys list">
        <Answer of={keys}>
          {(all) => (all.length === 0 ? <Empty>{T.certificates.noKeys}</Empty> : <Keys of={all} />)}
        </Answer>
      </Panel>
      <Panel title={T.certificates.caches} call="/caches" command="clearline cache show">
        <Answer of={caches}>{(all) => <Caches of={all} />}</Answer>
      </Panel>
    </div>
  );
}

/** What an administrator may do with the primary CA now. */
function Steps({ of, onDone }: { of: readonly AuthorityInfo[]; onDone: () => void }) {
  const problem = useSignal<string | undefined>(undefined);
  const hasNext = of.some(({ stage }) => stage === "next");
  const allowed = may("administrator");
  const act = async () => {
    if (hasNext && !confirm(T.certificates.activateSure)) return;
    try {
      await ask(`/ca/primary/${hasNext ? "activate" : "next"}`, { method: "POST" });
      problem.value = undefined;
    } catch (error) {
      problem.value = error instanceof Error ? error.message : String(error);
    }
    onDone();
  };
  return (
    <>
      <button
        type="button"
        class="small"
        disabled={!allowed}
        title={allowed ? "" : T.noRight("administrator")}
        onClick={() => void act()}
      >
        {hasNext ? T.certificates.activate : T.certificates.next}
      </button>
      {problem.value && <Failure message={problem.value} />}
    </>
  );
}

/** Of something that is valid until `notAfter`. */
function validity(notAfter: number): { state: LampState; reason: string } {
  if (notAfter < now.value) return { state: "bad", reason: "it has expired" };
  if (notAfter < now.value + MONTH) return { state: "warning", reason: "it expires within 30 days" };
  return { state: "good", reason: "it is valid" };
}

function Authorities({ of }: { of: readonly AuthorityInfo[] }) {
  return (
    <Table
      label={T.certificates.authorities}
      rows={of}
      keyOf={({ sha256 }) => sha256}
      columns={[
        {
          name: "CA",
          of: ({ role, keyType, notAfter }) => <Lamp name={`${role}, ${keyType}`} {...validity(notAfter)} />,
        },
        { name: "Stage", of: ({ stage }) => T.certificates.stages[stage] },
        { name: "Subject", of: ({ subject }) => subject },
        { name: "Made by", of: ({ origin }) => (origin === "made" ? "this node" : "the configuration") },
        { name: "Valid from", of: ({ notBefore }) => <Time at={notBefore} as="full" /> },
        { name: "Valid until", of: ({ notAfter }) => <Time at={notAfter} as="full" /> },
        { name: "SHA-256", of: ({ sha256 }) => <Digest of={sha256} /> },
      ]}
    />
  );
}

export function Digest({ of }: { of: string }) {
  return (
    <span class="digest">
      <code title={of}>{of.slice(0, 16)}…</code> <CopyButton text={of} />
    </span>
  );
}

const KEY_STATES: Readonly<Record<KeyInfo["state"], LampState>> = {
  valid: "good",
  "expires soon": "warning",
  expired: "bad",
  "not yet valid": "warning",
  waiting: "warning",
};

function Keys({ of }: { of: readonly KeyInfo[] }) {
  return (
    <Table
      label={T.certificates.keys}
      rows={of}
      keyOf={({ id }) => id}
      columns={[
        {
          name: "State",
          of: ({ state }) => <Lamp name={state} state={KEY_STATES[state]} reason={`the key is ${state}`} />,
        },
        { name: "Hosts", of: ({ hosts }) => hosts.join(", ") },
        { name: "Type", of: ({ keyType }) => keyType },
        { name: "Valid until", of: ({ notAfter }) => (notAfter === null ? "" : <Time at={notAfter} as="full" />) },
        { name: "From", of: ({ origin }) => origin },
      ]}
    />
  );
}

function Caches({ of }: { of: readonly CacheInfo[] }) {
  return (
    <Table
      label={T.certificates.caches}
      rows={of}
      keyOf={({ name }) => name}
      columns={[
        { name: "Cache", of: ({ name }) => name },
        { name: "Entries", of: ({ size }) => number(size), isAmount: true },
        { name: "At most", of: ({ limit }) => number(limit), isAmount: true },
        { name: "Hits", of: ({ hits }) => number(hits), isAmount: true },
        { name: "Misses", of: ({ misses }) => number(misses), isAmount: true },
        { name: "Found", of: ({ hits, misses }) => percent(hits, hits + misses), isAmount: true },
      ]}
    />
  );
}
