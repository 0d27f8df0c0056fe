import type { Command } from "commander";
import type { LegRecord, RevocationRecord, Session } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { bytes, color, duration, endpoint, facts, fullTime, print, printJson, verdictColor } from "../render.ts";

export function sessionCommand(): Command {
  return createCommand("session", "Show everything that is known of one session.", ["session mh2k8x1a-0-1f"])
    .argument("<id>", "as `sessions` shows it")
    .option("--json", "for a machine")
    .action(async (id: string, options: CommonOptions & { json?: true }) => {
      const client = await openClient(options.config);
      const session = await client.ask<Session>("GET", `/sessions/${encodeURIComponent(id)}`);
      if (options.json) return printJson(session, 2);
      print(...page(session));
    });
}

function page(session: Session): string[] {
  const { certificate, presented, clientLeg, serverLeg } = session;
  return [
    ...facts([
      ["Session", session.id],
      ["State", session.end === null ? session.state : `closed, at ${session.state}`],
      ["Listener", `${session.listener} (${session.mode}), worker ${session.worker}`],
      ["Client", endpoint(session.client)],
      ["Server", session.server && endpoint(session.server)],
      ["SNI", session.sni],
      ["CONNECT host", session.connectHost],
      ["Protocol", PROTOCOLS[session.protocol ?? "none"]],
      ["Began as", beginning(session)],
      ["ECH", session.ech],
      ["JA3", session.ja3],
      ["JA4", session.ja4],
    ]),
    "",
    ...verdict(session),
    ...part("Client leg", leg(clientLeg, "client")),
    ...part("Server leg", leg(serverLeg, "server")),
    ...part(
      "Certificate of the server",
      certificate && [
        ["Subject", certificate.subject],
        ["Names", certificate.names.join(", ")],
        ["Issuer", certificate.issuer],
        ["Valid", [certificate.notBefore, certificate.notAfter].map(date).join(" to ")],
        ["SHA-256", certificate.sha256],
        ["Faults", certificate.faults.map(({ fault, code }) => `${fault} (${code})`).join(", ")],
        ["Revocation", certificate.revocation && revocation(certificate.revocation)],
      ],
    ),
    ...part(
      "Certificate shown to the client",
      presented && [
        [
          "Signed by",
          presented.authority === "inbound" ? "the server's own, inbound" : `the ${presented.authority} CA`,
        ],
        ["Key", presented.keyType],
        ["Serial", presented.serial],
        ["SHA-256", presented.sha256],
      ],
    ),
    ...part(
      "Tools",
      session.tools.map(({ name, state }) => [name, state === "connected" ? "passed" : "had failed, bypassed"]),
    ),
    ...part("Copies of the plaintext", Object.entries(session.feeds)),
    ...part("Time", [
      ["Started", fullTime(session.start)],
      ["Last activity", fullTime(session.lastActivity)],
      ["Ended", session.end && `${fullTime(session.end)}, after ${duration(session.end - session.start)}`],
      ["Because", session.closeReason],
      ["Client left", LEFT[session.clientLeft ?? "none"]],
      ["Server left", LEFT[session.serverLeft ?? "none"]],
    ]),
  ];
}

function date(time: number | null): string {
  return time === null ? "what is no date" : fullTime(time);
}

function revocation({ status, from, cached, reason, thisUpdate, nextUpdate }: RevocationRecord): string {
  const source = from === null ? "" : `, ${SOURCES[from]}${cached ? ", known already" : ""}`;
  const times = thisUpdate === null ? "" : `, of ${fullTime(thisUpdate)}`;
  const end = nextUpdate === null ? "" : ` until ${fullTime(nextUpdate)}`;
  return `${status}${source}${times}${end}${reason === null ? "" : ` (${reason})`}`;
}

const SOURCES = { stapled: "stapled by the server", ocsp: "asked by OCSP", crl: "by its issuer's list" } as const;

function beginning({ startTls }: Session): string | null {
  if (startTls === null) return null;
  const { protocol, outcome, at } = startTls;
  if (at !== null) return `${protocol}, TLS since ${fullTime(at)}`;
  return outcome === "refused"
    ? `${protocol}, whose server refused TLS`
    : `${protocol}, whose server no longer offers the TLS that it offered before`;
}

const PROTOCOLS: Readonly<Record<string, string>> = { tls: "TLS", http: "plain HTTP", other: "not TLS" };
const LEFT: Readonly<Record<string, string>> = { closed: "closed its side", reset: "reset the connection" };

function verdict({ verdict, phase, rule, reason, end }: Session): string[] {
  if (verdict === null) {
    const why = reason ?? (end === null ? "not decided yet" : "the session ended before");
    return facts([["Verdict", `none: ${why}`]]);
  }
  return facts([
    ["Verdict", verdict],
    ["Phase", phase],
    ["Rule", rule],
    ["Reason", reason],
  ]).map((line, index) => (index === 0 ? line.replace(verdict, verdictColor(verdict)(verdict)) : line));
}

type Pairs = readonly (readonly [string, string | number | null | undefined])[];

function leg({ version, suite, group, alpn, resumed, received, sent }: LegRecord, peer: string): Pairs {
  return [
    ["Version", version],
    ["Suite", suite],
    ["Group", group],
    ["ALPN", alpn],
    ["Handshake", resumed === undefined ? undefined : resumed ? "abbreviated: an earlier session was resumed" : "full"],
    ["Bytes", `${bytes(received)} from the ${peer}, ${bytes(sent)} to it`],
  ];
}

function part(title: string, pairs: Pairs | null): string[] {
  return pairs === null || pairs.length === 0 ? [] : ["", color.bold(title), ...facts(pairs)];
}
