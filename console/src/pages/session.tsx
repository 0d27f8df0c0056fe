import { useSignal } from "@preact/signals";
import type { CertificateRecord, LegRecord, PresentedRecord, Session, Stats } from "../../../src/control/api.ts";
import { ask, may } from "../api.ts";
import { bytes, duration, endpoint } from "../format.ts";
import { Picture } from "../home/picture.tsx";
import { useRates } from "../home/rates.ts";
import { hostOf } from "../home/session-list.tsx";
import { Dots, Outcome } from "../parts/marks.tsx";
import { Answer, CopyButton, Empty, Facts, Failure, Panel } from "../parts/panels.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";
import { Digest } from "./certificates.tsx";
import { HttpPanel } from "./session-http.tsx";
import { TimelinePanel } from "./session-time.tsx";
import { WhyPanel } from "./session-why.tsx";

export function SessionPage({ id }: { id: string }) {
  const session = useResource<Session>(`/sessions/${id}`, 2000);
  if (session.failure?.status === 404) return <Failure message={T.session.gone} />;
  return (
    <div class="page">
      <h1 class="unseen">
        {T.session.title} {id}
      </h1>
      <Answer of={session}>{(one) => <Whole of={one} />}</Answer>
    </div>
  );
}

function Whole({ of }: { of: Session }) {
  return (
    <>
      <Head of={of} />
      {of.end === null && <PlacePanel state={of.state} />}
      <TimelinePanel of={of} />
      <WhyPanel key={of.end === null ? "live" : "over"} id={of.id} />
      <Legs of={of} />
      <Certificates of={of} />
      <ToolsAndFeeds of={of} />
      {of.verdict === "decrypt" || of.protocol === "http" ? <HttpPanel id={of.id} /> : null}
    </>
  );
}

/** Where a live session is, in the picture of the node. */
function PlacePanel({ state }: { state: string }) {
  const stats = useResource<Stats>("/stats", 2_000);
  const rates = useRates(stats.data, stats.at);
  return (
    <Panel title={T.session.place} hint={state}>
      <Answer of={stats}>{(all) => <Picture stats={all} rates={rates} state={state} />}</Answer>
    </Panel>
  );
}

function Head({ of }: { of: Session }) {
  const { id, outcome, cause, blame, client, server, start, end, state, closeReason, verdict, phase, rule, reason } =
    of;
  return (
    <Panel
      title={hostOf(of)}
      call={`/sessions/${id}`}
      command={`clearline session ${id}`}
      aside={
        <span class="aside">
          <Outcome outcome={outcome} /> <Dots state={state} />
          <CopyButton label={T.session.curl} text={() => curlOf(of)} />
          {end === null && <EndButton id={id} />}
        </span>
      }
    >
      {reason && (
        <p class="decision">
          {verdict && <span class={`verdict ${verdict}`}>{verdict}</span>} {rule && <b>{rule}</b>}{" "}
          {phase && `in the ${phase} phase`}: {reason}
        </p>
      )}
      <Facts
        of={[
          ["Client", endpoint(client)],
          ["Server", endpoint(server) || "not known"],
          ["Began", <Time key="start" at={start} as="full" />],
          end === null ? ["Lives for", duration(Date.now() - start)] : ["Lasted", duration(end - start)],
          closeReason ? ["Ended", closeReason] : undefined,
          cause ? ["Cause", `${cause}${blame ? `; the ${blame} is to blame` : ""}`] : undefined,
          ["Listener", `${of.listener} (${of.mode})`],
          of.vlan === null ? undefined : ["VLAN", of.vlan],
          ["Protocol", of.protocol ?? "nothing seen"],
          of.startTls ? ["Began in plaintext", `${of.startTls.protocol}: ${of.startTls.outcome}`] : undefined,
          of.sni === null ? undefined : ["SNI", of.sni],
          of.connectHost === null ? undefined : ["CONNECT host", of.connectHost],
          of.ech === null ? undefined : ["Encrypted ClientHello", of.ech],
          of.ja4 === null ? undefined : ["JA4", <code key="ja4">{of.ja4}</code>],
          of.communityId === null ? undefined : ["Community ID", <code key="cid">{of.communityId}</code>],
          ["Session ID", <code key="id">{id}</code>],
        ]}
      />
    </Panel>
  );
}

/** The same request again, through the node where the session came through its proxy. */
function curlOf(session: Session): string {
  const { server, mode } = session;
  const host = hostOf(session);
  const scheme = session.protocol === "http" ? "http" : "https";
  const port = server?.port ?? 443;
  const resolve = server && mode !== "explicit" ? ` --connect-to ${host}:${port}:${endpoint(server)}` : "";
  return `curl -v${resolve} ${scheme}://${host}:${port}/`;
}

function EndButton({ id }: { id: string }) {
  const said = useSignal("");
  const end = async () => {
    if (!confirm(T.session.endSure)) return;
    try {
      await ask(`/sessions/${id}`, { method: "DELETE" });
      said.value = T.session.ended;
    } catch (error) {
      said.value = error instanceof Error ? error.message : String(error);
    }
  };
  return (
    <>
      <button
        type="button"
        class="small danger"
        disabled={!may("operator")}
        title={may("operator") ? "" : T.noRight("operator")}
        onClick={() => void end()}
      >
        {T.session.end}
      </button>
      <span role="status">{said.value}</span>
    </>
  );
}

const LEG_ROWS: readonly (readonly [name: string, of: (leg: LegRecord) => string])[] = [
  ["Version", ({ version }) => version ?? "no TLS"],
  ["Suite", ({ suite }) => suite ?? ""],
  ["Group", ({ group }) => group ?? ""],
  ["ALPN", ({ alpn }) => alpn ?? ""],
  ["Resumed", ({ resumed }) => (resumed === undefined ? "" : resumed ? T.yes : T.no)],
  ["Received", ({ received }) => bytes(received)],
  ["Sent", ({ sent }) => bytes(sent)],
  ["Last alert received", ({ alertReceived }) => alertReceived ?? ""],
  ["Last alert sent", ({ alertSent }) => alertSent ?? ""],
];

/** Both legs, side by side; rows in which they differ are marked. */
function Legs({ of: { clientLeg, serverLeg } }: { of: Session }) {
  const isAlone = clientLeg.version === undefined || serverLeg.version === undefined;
  return (
    <Panel title={T.session.legs}>
      <Pair
        heads={[T.session.clientLeg, T.session.serverLeg]}
        rows={LEG_ROWS.map(([name, of]) => [name, of(clientLeg), of(serverLeg)])}
        quiet={
          isAlone ? LEG_ROWS.map(([name]) => name) : ["Received", "Sent", "Last alert received", "Last alert sent"]
        }
      />
    </Panel>
  );
}

interface PairProps {
  readonly heads: readonly [string, string];
  readonly rows: readonly (readonly [name: string, left: string, right: string])[];
  /** Rows whose difference says nothing. */
  readonly quiet?: readonly string[];
}

function Pair({ heads, rows, quiet = [] }: PairProps) {
  return (
    <table class="pair">
      <thead>
        <tr>
          <td />
          {heads.map((head) => (
            <th key={head} scope="col">
              {head}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows
          .filter(([, left, right]) => left || right)
          .map(([name, left, right]) => {
            const differs = left !== right && !quiet.includes(name);
            return (
              <tr key={name} class={differs ? "differs" : ""}>
                <th scope="row">{name}</th>
                <td>{left}</td>
                <td>
                  {right}
                  {differs && <span class="unseen"> (differs)</span>}
                </td>
              </tr>
            );
          })}
      </tbody>
    </table>
  );
}

function Certificates({ of: { certificate, presented } }: { of: Session }) {
  if (!certificate && !presented) return null;
  return (
    <Panel title={T.session.certificates}>
      <div class="columns">
        <div>
          <h3>{T.session.original}</h3>
          {certificate ? <Original of={certificate} /> : <Empty>{T.session.noOriginal}</Empty>}
        </div>
        <div>
          <h3>{T.session.issued}</h3>
          {presented ? <Issued of={presented} original={certificate} /> : <Empty>{T.session.noIssued}</Empty>}
        </div>
      </div>
    </Panel>
  );
}

function Original({
  of: { subject, issuer, names, serial, sha256, notBefore, notAfter, faults, revocation },
}: {
  of: CertificateRecord;
}) {
  return (
    <Facts
      of={[
        ["Subject", subject],
        ["Issuer", issuer],
        ["Names", names.join(", ")],
        notBefore === null ? undefined : ["Valid from", <Time key="from" at={notBefore} as="full" />],
        notAfter === null ? undefined : ["Valid until", <Time key="until" at={notAfter} as="full" />],
        serial === undefined ? undefined : ["Serial", <code key="serial">{serial}</code>],
        ["SHA-256", <Digest key="digest" of={sha256} />],
        ["Faults", faults.length === 0 ? T.none : faults.map(({ fault, code }) => `${fault} (${code})`).join(", ")],
        revocation
          ? [
              "Revocation",
              `${revocation.status}${revocation.from ? `, ${revocation.from}` : ""}${revocation.reason ? `: ${revocation.reason}` : ""}`,
            ]
          : undefined,
      ]}
    />
  );
}

function Issued({
  of: { authority, serial, sha256, keyType },
  original,
}: {
  of: PresentedRecord;
  original: CertificateRecord | null;
}) {
  const isSame = original?.sha256 === sha256;
  return (
    <Facts
      of={[
        ["Signed by", authority === "inbound" ? "the server's own certificate" : `the ${authority} CA`],
        ["Key", keyType],
        ["Serial", <code key="serial">{serial}</code>],
        ["SHA-256", <Digest key="digest" of={sha256} />],
        [
          "Compared with the original",
          <span key="same" class={isSame ? "" : "differs"}>
            {isSame ? "the same" : "another key, serial and signature"}
          </span>,
        ],
      ]}
    />
  );
}

function ToolsAndFeeds({ of: { tools, feeds } }: { of: Session }) {
  const copies = Object.entries(feeds);
  return (
    <Panel title={T.session.toolsAndFeeds}>
      {tools.length === 0 ? (
        <Empty>{T.session.noTools}</Empty>
      ) : (
        <Facts of={tools.map(({ name, state }) => [name, state] as const)} />
      )}
      {copies.length === 0 ? (
        <Empty>{T.session.noFeeds}</Empty>
      ) : (
        <Facts of={copies.map(([name, where]) => [name, <code key={name}>{where}</code>] as const)} />
      )}
    </Panel>
  );
}
