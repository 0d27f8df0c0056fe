import { useSignal } from "@preact/signals";
import type { CertificateRecord, LegRecord, PresentedRecord, Session, Stats } from "../../../src/control/api.ts";
import { ask, may, messageOf } from "../api.ts";
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

const L = T.session.facts;

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
          {phase && T.policy.inPhase(phase)}: {reason}
        </p>
      )}
      <Facts
        of={[
          [L.client, endpoint(client)],
          [L.server, endpoint(server) || T.session.notKnown],
          [L.began, <Time key="start" at={start} as="full" />],
          end === null ? [L.livesFor, duration(Date.now() - start)] : [L.lasted, duration(end - start)],
          closeReason ? [L.ended, closeReason] : undefined,
          cause ? [L.cause, blame ? T.session.blamed(cause, blame) : cause] : undefined,
          [L.listener, `${of.listener} (${of.mode})`],
          of.vlan === null ? undefined : [L.vlan, of.vlan],
          [L.protocol, of.protocol ?? T.session.nothingSeen],
          of.startTls ? [L.beganInPlaintext, `${of.startTls.protocol}: ${of.startTls.outcome}`] : undefined,
          of.sni === null ? undefined : [L.sni, of.sni],
          of.connectHost === null ? undefined : [L.connectHost, of.connectHost],
          of.ech === null ? undefined : [L.encryptedClientHello, of.ech],
          of.ja4 === null ? undefined : [L.ja4, <code key="ja4">{of.ja4}</code>],
          of.communityId === null ? undefined : [L.communityId, <code key="cid">{of.communityId}</code>],
          [L.sessionId, <code key="id">{id}</code>],
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
      said.value = messageOf(error);
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
  [L.version, ({ version }) => version ?? T.session.noTls],
  [L.suite, ({ suite }) => suite ?? ""],
  [L.group, ({ group }) => group ?? ""],
  [L.alpn, ({ alpn }) => alpn ?? ""],
  [L.resumed, ({ resumed }) => (resumed === undefined ? "" : resumed ? T.yes : T.no)],
  [L.received, ({ received }) => bytes(received)],
  [L.sent, ({ sent }) => bytes(sent)],
  [L.lastAlertReceived, ({ alertReceived }) => alertReceived ?? ""],
  [L.lastAlertSent, ({ alertSent }) => alertSent ?? ""],
];

/** Rows that differ between the legs of every session. */
const QUIET = [L.versionsOffered, L.alpnOffered, L.received, L.sent, L.lastAlertReceived, L.lastAlertSent];

/** Both legs, side by side, below what the client offered; rows in which they differ are marked. */
function Legs({ of: { clientLeg, serverLeg, facts } }: { of: Session }) {
  const isAlone = clientLeg.version === undefined || serverLeg.version === undefined;
  return (
    <Panel title={T.session.legs}>
      <Pair
        heads={[T.session.clientLeg, T.session.serverLeg]}
        rows={[
          [L.versionsOffered, facts?.versions.replaceAll(",", ", ") ?? "", ""],
          [L.alpnOffered, facts ? facts.alpn.replaceAll(",", ", ") || T.none : "", ""],
          ...LEG_ROWS.map(([name, of]) => [name, of(clientLeg), of(serverLeg)] as const),
        ]}
        quiet={isAlone ? LEG_ROWS.map(([name]) => name) : QUIET}
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
                  {differs && <span class="unseen"> {T.session.differs}</span>}
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
        [L.subject, subject],
        [L.issuer, issuer],
        [L.names, names.join(", ")],
        notBefore === null ? undefined : [L.validFrom, <Time key="from" at={notBefore} as="full" />],
        notAfter === null ? undefined : [L.validUntil, <Time key="until" at={notAfter} as="full" />],
        serial === undefined ? undefined : [L.serial, <code key="serial">{serial}</code>],
        [L.sha256, <Digest key="digest" of={sha256} />],
        [L.faults, faults.length === 0 ? T.none : faults.map(({ fault, code }) => `${fault} (${code})`).join(", ")],
        revocation
          ? [
              L.revocation,
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
        [L.signedBy, T.session.signedBy(authority)],
        [L.key, keyType],
        [L.serial, <code key="serial">{serial}</code>],
        [L.sha256, <Digest key="digest" of={sha256} />],
        [
          L.comparedWithTheOriginal,
          <span key="same" class={isSame ? "" : "differs"}>
            {isSame ? T.session.isSame : T.session.isAnother}
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
