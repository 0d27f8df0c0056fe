import { useSignal } from "@preact/signals";
import type { AuthorityInfo, CacheInfo, KeyInfo } from "../../../src/control/api.ts";
import { ask, may, messageOf } from "../api.ts";
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
      problem.value = messageOf(error);
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
  if (notAfter < now.value) return { state: "bad", reason: T.certificates.validity.expired };
  if (notAfter < now.value + MONTH) return { state: "warning", reason: T.certificates.validity.soon };
  return { state: "good", reason: T.certificates.validity.valid };
}

function Authorities({ of }: { of: readonly AuthorityInfo[] }) {
  return (
    <Table
      label={T.certificates.authorities}
      rows={of}
      keyOf={({ sha256 }) => sha256}
      columns={[
        {
          name: T.certificates.columns.ca,
          of: ({ role, keyType, notAfter }) => <Lamp name={`${role}, ${keyType}`} {...validity(notAfter)} />,
        },
        { name: T.certificates.columns.stage, of: ({ stage }) => T.certificates.stages[stage] },
        { name: T.certificates.columns.subject, of: ({ subject }) => subject },
        { name: T.certificates.columns.madeBy, of: ({ origin }) => T.certificates.origins[origin] },
        { name: T.certificates.columns.validFrom, of: ({ notBefore }) => <Time at={notBefore} as="full" /> },
        { name: T.certificates.columns.validUntil, of: ({ notAfter }) => <Time at={notAfter} as="full" /> },
        { name: T.certificates.columns.sha256, of: ({ sha256 }) => <Digest of={sha256} /> },
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
          name: T.certificates.columns.state,
          of: ({ state }) => <Lamp name={state} state={KEY_STATES[state]} reason={T.certificates.keyIs(state)} />,
        },
        { name: T.certificates.columns.hosts, of: ({ hosts }) => hosts.join(", ") },
        { name: T.certificates.columns.type, of: ({ keyType }) => keyType },
        {
          name: T.certificates.columns.validUntil,
          of: ({ notAfter }) => (notAfter === null ? "" : <Time at={notAfter} as="full" />),
        },
        { name: T.certificates.columns.from, of: ({ origin }) => origin },
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
        { name: T.certificates.columns.cache, of: ({ name }) => name },
        { name: T.certificates.columns.entries, of: ({ size }) => number(size), isAmount: true },
        { name: T.certificates.columns.atMost, of: ({ limit }) => number(limit), isAmount: true },
        { name: T.certificates.columns.hits, of: ({ hits }) => number(hits), isAmount: true },
        { name: T.certificates.columns.misses, of: ({ misses }) => number(misses), isAmount: true },
        { name: T.certificates.columns.found, of: ({ hits, misses }) => percent(hits, hits + misses), isAmount: true },
      ]}
    />
  );
}
