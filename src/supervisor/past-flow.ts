import type { PastFlow } from "../policy/past.ts";
import type { KnownFacts } from "../policy/view.ts";
import type { Session } from "../sessions/record.ts";
import { FAULTS, type Fault, VERSIONS } from "../vocabulary.ts";

/** What a session's record tells about its flow. What it leaves out is not known, or was not seen. */
export function pastFlow(session: Session): PastFlow {
  const { protocol, certificate, clientLeg, serverLeg } = session;
  const carried = protocol === null ? "nothing" : protocol === "http" || protocol === "other" ? protocol : "tls";
  const versions = [clientLeg.version, serverLeg.version].flatMap((name) => versionOf(name) ?? []);
  return {
    facts: factsOf(session),
    carried,
    action: (session.monitored ?? session).verdict,
    rule: (session.monitored ?? session).rule,
    phase: (session.monitored ?? session).phase,
    versions,
    moreNames: (certificate?.nameCount ?? 0) > (certificate?.names.length ?? 0),
  };
}

function factsOf(session: Session): KnownFacts {
  const { listener, vlan, client, server, sni, connectHost, certificate, startTls, protocol, deployment } = session;
  const { facts } = session;
  return {
    ...{ listener, vlan, client, sni, connectHost },
    server: server ?? undefined,
    upgraded: startTls !== null || protocol === "tls after an unknown dialogue" || connectHost !== null,
    ...(deployment && { keyHeld: deployment === "inbound" }),
    ...(facts && offeredOf(facts)),
    ...(certificate && {
      certificate: {
        names: certificate.names,
        issuer: certificate.issuer,
        faults: certificate.faults.flatMap(({ fault }) => (isFault(fault) ? [fault] : [])),
      },
    }),
  };
}

/** What was kept of the ClientHello. A text that was cut says too little. */
function offeredOf({ alpn, versions, ...known }: NonNullable<Session["facts"]>): KnownFacts {
  const isWhole = (text: string) => !text.endsWith("…");
  return {
    ...known,
    ...(isWhole(alpn) && { alpn: namesIn(alpn).map(decodeName) }),
    ...(isWhole(versions) && { versions: namesIn(versions).map((name) => versionOf(name) ?? Number(name)) }),
  };
}

function decodeName(name: string): string {
  return name.replaceAll("%2C", ",").replaceAll("%25", "%");
}

function namesIn(text: string): readonly string[] {
  return text === "" ? [] : text.split(",");
}

function isFault(text: string): text is Fault {
  return FAULTS.some((fault) => fault === text);
}

function versionOf(name: string | undefined): number | undefined {
  return Object.entries(VERSIONS).find(([known]) => known === name)?.[1];
}

/** The host of a session, for people. */
export function pastHost({ sni, connectHost, certificate, server }: Session): string {
  return sni ?? connectHost ?? certificate?.names[0] ?? server?.address ?? "unknown";
}
