import type { Command } from "commander";
import type { CertificateRecord, LegRecord, PresentedRecord, RevocationRecord, Session } from "../../control/api.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import {
  bytes,
  color,
  duration,
  endpoint,
  facts,
  fullTime,
  outcomeColor,
  print,
  printJson,
  verdictColor,
} from "../render.ts";

export function sessionCommand(): Command {
  return createCommand("session", "Show everything that is known about one session.", ["session mh2k8x1a-0-1f"])
    .argument("<id>", "the session's id, as `sessions` shows it")
    .option("--json", "print JSON")
    .action(async (id: string, options: CommonOptions & { json?: true }) => {
      const path = `/sessions/${encodeURIComponent(id)}`;
      const session = await (await openClient(options.config)).ask<Session>("GET", path);
      if (options.json) return printJson(session, 2);
      print(...page(session));
    });
}

function page(session: Session): string[] {
  const { certificate, presented, clientLeg, serverLeg, tools, feeds } = session;
  return [
    ...facts(identity(session)).map((line) =>
      line.startsWith("Outcome") ? line.replace(session.outcome, outcomeColor(session.outcome)) : line,
    ),
    "",
    ...verdict(session),
    ...part("Client leg", leg(clientLeg, "client")),
    ...part("Server leg", leg(serverLeg, "server")),
    ...part("Certificate of the server", certificate && ofServer(certificate)),
    ...part("Certificate presented to the client", presented && toClient(presented)),
    ...part(
      "Tools",
      tools.map(({ name, state }) => [name, state === "connected" ? "passed" : "bypassed: it had failed"]),
    ),
    ...part("Copies of the plaintext", Object.entries(feeds)),
    ...part("Time", times(session)),
  ];
}

function part(title: string, pairs: Pairs | null): string[] {
  return pairs === null || pairs.length === 0 ? [] : ["", color.bold(title), ...facts(pairs)];
}

function identity(session: Session): Pairs {
  return [
    ["Session", session.id],
    ["Outcome", ending(session)],
    ["State", session.end === null ? session.state : `closed, at ${session.state}`],
    ["Listener", `${session.listener} (${session.mode}), worker ${session.worker}`],
    ["VLAN", session.vlan],
    ["Client", endpoint(session.client)],
    ["Server", session.server && endpoint(session.server)],
    ["SNI", session.sni],
    ["PROXY header", proxyHeader(session)],
    [session.protocol === "http" ? "Host" : "CONNECT host", session.connectHost],
    ["Protocol", PROTOCOLS[session.protocol ?? "none"]],
    ["Began as", beginning(session)],
    ["ECH", session.ech],
    ["JA3", session.ja3],
    ["JA4", session.ja4],
    ["Community ID", session.communityId],
  ];
}

function ending({ outcome, cause, blame }: Session): string {
  const why = cause === null ? "" : `: ${cause}`;
  return `${outcome}${why}${blame === null ? "" : `, by the ${blame}`}`;
}

const PROTOCOLS: Readonly<Record<string, string>> = {
  tls: "TLS",
  "tls after an unknown dialogue": "TLS after an unknown dialogue",
  "tls on an unwatched port": "TLS on an unwatched port",
  http: "plain HTTP",
  other: "not TLS",
};

function proxyHeader({ proxyHeader: header }: Session): string | null {
  if (!header) return null;
  const client = header.client ? `client ${endpoint(header.client)}` : "no client";
  const unexpected = header.believed ? "" : "; not believed, the listener does not expect it";
  return `version ${header.version} from ${endpoint(header.from)}: ${client}${unexpected}`;
}

function beginning({ startTls }: Session): string | null {
  if (startTls === null) return null;
  const { outcome, at } = startTls;
  const protocol = startTls.protocol === "unknown" ? "an unknown dialogue" : startTls.protocol;
  if (at !== null) return `${protocol}, TLS since ${fullTime(at)}`;
  return outcome === "refused"
    ? `${protocol}; the server refused TLS`
    : `${protocol}; the server no longer offers TLS, which it did before`;
}

const PAGES: Readonly<Record<string, string>> = {
  shown: "shown",
  text: "sent as text: the client asked for no page",
  notAsked: "not shown: the client asked for nothing",
  refused: "not shown: the client did not take its certificate",
};

function verdict({ verdict, phase, rule, reason, monitored, page, end }: Session): string[] {
  if (verdict === null) {
    const why = reason ?? (end === null ? "not decided yet" : "the session ended before a decision");
    return facts([
      ["Verdict", `none: ${why}`],
      ["Page", page && PAGES[page]],
    ]);
  }
  return facts([
    ["Verdict", verdict],
    ["Phase", phase],
    ["Rule", rule],
    ["Reason", reason],
    ["Page", page && PAGES[page]],
    [
      "Otherwise",
      monitored && `${monitored.verdict}, in the ${monitored.phase} phase, by ${monitored.rule}: ${monitored.reason}`,
    ],
  ]).map((line, index) => (index === 0 ? line.replace(verdict, verdictColor(verdict)(verdict)) : line));
}

type Pairs = readonly (readonly [string, string | number | null | undefined])[];

const RESUMED = "abbreviated: an earlier session was resumed";
const UNFINISHED = "; it did not finish";

function leg(record: LegRecord, peer: string): Pairs {
  const { version, suite, group, alpn, unfinished, resumed, alertReceived, alertSent, received, sent } = record;
  const alerts = [alertReceived && `${alertReceived} from the ${peer}`, alertSent && `${alertSent} to it`];
  return [
    ["Version", version],
    ["Suite", suite],
    ["Group", group],
    ["ALPN", alpn],
    ["Handshake", resumed === undefined ? undefined : `${resumed ? RESUMED : "full"}${unfinished ? UNFINISHED : ""}`],
    ["Last alerts", alerts.filter(Boolean).join(", ") || undefined],
    ["Bytes", `${bytes(received)} from the ${peer}, ${bytes(sent)} to it`],
  ];
}

function ofServer({
  subject,
  names,
  nameCount = names.length,
  issuer,
  notBefore,
  notAfter,
  sha256,
  faults,
  revocation,
}: CertificateRecord): Pairs {
  return [
    ["Subject", subject],
    ["Names", [...names, ...(nameCount > names.length ? [`and ${nameCount - names.length} more`] : [])].join(", ")],
    ["Issuer", issuer],
    ["Valid", `${date(notBefore)} to ${date(notAfter)}`],
    ["SHA-256", sha256],
    ["Faults", faults.map(({ fault, code }) => `${fault} (${code})`).join(", ")],
    ["Revocation", revocation && statusOf(revocation)],
  ];
}

function date(time: number | null): string {
  return time === null ? "an unreadable date" : fullTime(time);
}

/** "good, by OCSP, issued 2026-11-23 21:56:12, valid until 2026-11-30 21:56:12". */
function statusOf({ status, from, cached, reason, thisUpdate, nextUpdate }: RevocationRecord): string {
  return [
    reason === null ? status : `${status} (${reason})`,
    ...(from === null ? [] : [SOURCES[from]]),
    ...(cached ? ["cached"] : []),
    ...(thisUpdate === null ? [] : [`issued ${fullTime(thisUpdate)}`]),
    ...(nextUpdate === null ? [] : [`valid until ${fullTime(nextUpdate)}`]),
  ].join(", ");
}

const SOURCES = { stapled: "stapled by the server", ocsp: "by OCSP", crl: "by the issuer's CRL" } as const;

function toClient({ authority, keyType, serial, sha256 }: PresentedRecord): Pairs {
  return [
    ["Signed by", authority === "inbound" ? "the server's own CA (inbound)" : `the ${authority} CA`],
    ["Key", keyType],
    ["Serial", serial],
    ["SHA-256", sha256],
  ];
}

function times({ start, lastActivity, end, closeReason, clientLeft, serverLeft }: Session): Pairs {
  return [
    ["Started", fullTime(start)],
    ["Last activity", fullTime(lastActivity)],
    ["Ended", end && `${fullTime(end)}, after ${duration(end - start)}`],
    ["Because", closeReason],
    ["Client left", LEFT[clientLeft ?? "none"]],
    ["Server left", LEFT[serverLeft ?? "none"]],
  ];
}

const LEFT: Readonly<Record<string, string>> = { closed: "closed its side", reset: "reset the connection" };
