import type { LegRecord, Session } from "../../control/api.ts";
import type { Outcome } from "../../vocabulary.ts";

/** The version of the Elastic Common Schema whose names are used. */
const ECS = "8.17.0";

/** One line for a session that has ended, in the names of the Elastic Common Schema; `clearline` has what the schema has no name for. */
export function sessionLine(session: Session): object {
  const { id, listener, mode, vlan, client, server, verdict, start, closeReason, communityId } = session;
  const { outcome, cause, blame, phase, rule, clientLeg, serverLeg, tools, presented } = session;
  const end = session.end ?? session.lastActivity;
  return {
    "@timestamp": isoTime(end),
    ecs: { version: ECS },
    event: {
      ...{ id, kind: "event", category: ["network"], type: ["connection", verdict === "drop" ? "denied" : "end"] },
      ...(verdict !== null && { action: verdict }),
      outcome: OUTCOMES[outcome],
      ...(closeReason !== null && { reason: closeReason }),
      ...{ start: isoTime(start), end: isoTime(end), duration: (end - start) * 1_000_000 },
    },
    network: {
      transport: "tcp",
      ...(session.protocol !== null && { protocol: session.protocol === "http" ? "http" : protocolOf(session) }),
      ...(communityId !== null && { community_id: communityId }),
      ...(vlan !== null && { vlan: { id: vlan } }),
      bytes: clientLeg.received + clientLeg.sent,
    },
    source: { ip: client.address, port: client.port, bytes: clientLeg.received },
    destination: {
      ...(server && { ip: server.address, port: server.port }),
      ...domainOf(session),
      bytes: serverLeg.received,
    },
    ...(session.protocol?.startsWith("tls") && { tls: tlsOf(session) }),
    ...(rule !== null && { rule: { name: rule } }),
    clearline: {
      ...{ listener, mode, outcome, cause, blame, phase },
      ...(presented && { authority: presented.authority }),
      ...{ client_leg: legOf(clientLeg), server_leg: legOf(serverLeg), tools: tools.map(({ name }) => name) },
    },
  };
}

const OUTCOMES: Readonly<Record<Outcome, "success" | "failure" | "unknown">> = {
  ...{ decrypted: "success", bypassed: "success", plaintext: "success", dropped: "success", live: "unknown" },
  ...{ clientRefusedCertificate: "failure", clientFailed: "failure", serverFailed: "failure" },
  ...{ serverUnreachable: "failure", toolFailed: "failure", nodeFailed: "failure" },
};

function protocolOf({ protocol }: Session): string {
  return protocol?.startsWith("tls") ? "tls" : "unknown";
}

function domainOf({ sni, connectHost }: Session) {
  const domain = sni ?? connectHost;
  return domain === null ? {} : { domain };
}

/** What a sensor before the node would have seen: the client's hello, and what was agreed on with the server. */
function tlsOf({ sni, ja3, ja4, serverLeg, clientLeg, certificate }: Session): object {
  const leg = serverLeg.version === undefined ? clientLeg : serverLeg;
  return {
    established: clientLeg.version !== undefined,
    ...versionOf(leg.version),
    ...(leg.suite !== undefined && { cipher: leg.suite }),
    ...(leg.group !== undefined && { curve: leg.group }),
    ...(leg.alpn && { next_protocol: leg.alpn }),
    ...(leg.resumed !== undefined && { resumed: leg.resumed }),
    client: {
      ...(sni !== null && { server_name: sni }),
      ...(ja3 !== null && { ja3 }),
      ...(ja4 !== null && { ja4 }),
    },
    ...(certificate && {
      server: {
        ...{ subject: certificate.subject, issuer: certificate.issuer },
        hash: { sha256: certificate.sha256.toUpperCase() },
        ...(certificate.notBefore !== null && { not_before: isoTime(certificate.notBefore) }),
        ...(certificate.notAfter !== null && { not_after: isoTime(certificate.notAfter) }),
      },
    }),
  };
}

function legOf({ version, suite, alertReceived, alertSent, received, sent }: LegRecord): object {
  return { version, suite, alert_received: alertReceived, alert_sent: alertSent, received, sent };
}

/** "TLSv1.3" is protocol tls, version 1.3; "SSLv3" is ssl, 3.0. */
function versionOf(version: string | undefined): object {
  if (version === undefined) return {};
  if (version === "SSLv3") return { version: "3.0", version_protocol: "ssl" };
  const [, number = "1.0"] = /^TLSv(1\.\d)$/.exec(version) ?? [];
  return { version: number, version_protocol: "tls" };
}

/** A date that no calendar has is not written. */
function isoTime(ms: number): string | undefined {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
