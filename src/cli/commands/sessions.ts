import { type Command, Option } from "commander";
import type { FleetSessions, Session, SessionEvents, SessionList } from "../../control/api.ts";
import { type Client, openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import {
  bytes,
  type Column,
  color,
  endpoint,
  outcomeColor,
  print,
  printJson,
  shortTime,
  table,
  verdictColor,
} from "../render.ts";
import { readSince } from "../spans.ts";
import { wholeNumber } from "../whole-number.ts";

interface Options extends CommonOptions {
  readonly host?: string;
  readonly sni?: string;
  readonly subject?: string;
  readonly state?: string;
  readonly verdict?: string;
  readonly listener?: string;
  readonly client?: string;
  readonly server?: string;
  readonly outcome?: string;
  readonly cause?: string;
  readonly blame?: string;
  readonly reason?: string;
  readonly rule?: string;
  readonly fault?: string;
  readonly version?: string;
  readonly communityId?: string;
  readonly ja4?: string;
  readonly since?: number;
  readonly until?: number;
  readonly cursor?: string;
  readonly live?: true;
  readonly closed?: true;
  readonly limit?: number;
  readonly watch?: true;
  readonly fleet?: true;
  readonly json?: true;
}

export function sessionsCommand(): Command {
  return createCommand("sessions", "List sessions, live and closed ones: the newest first.", [
    "sessions --host '*.example.com'",
    "sessions --outcome clientRefusedCertificate,serverFailed --since 1h",
    "sessions --state EST:EST --verdict bypass",
    "sessions --watch",
    "sessions --watch --json | jq .sni",
    "sessions --fleet --client 10.0.0.0/8",
  ])
    .option("--host <host>", "the SNI, the CONNECT host or a name in the server's certificate; * matches any text")
    .option("--sni <host>", "the same without the certificate's names: only hosts that the client itself named")
    .option("--subject <text>", "text in the distinguished name of the server's certificate: 'O=Example'")
    .option("--state <state>", "Na:Nb:Ta:Tb, or the first of these states: EST:EST")
    .addOption(
      new Option("--verdict <verdict>", "the verdict; none: nothing was decided").choices([
        "decrypt",
        "bypass",
        "drop",
        "none",
      ]),
    )
    .option("--outcome <outcomes>", "how it ended: clientRefusedCertificate; several are separated by commas")
    .option("--cause <codes>", "why it ended so: unknown_ca, timeout; several are separated by commas")
    .addOption(new Option("--blame <who>", "who is to blame for the end").choices(["client", "server", "tool", "node"]))
    .option("--reason <text>", "text in the verdict's reason, or in why the session ended")
    .option("--rule <name>", "the rule, list or built-in that decided")
    .option("--fault <fault>", "a fault of the server's certificate: expired, selfSigned, unknownIssuer…")
    .option("--version <version>", "the version of one of the legs: TLSv1.2")
    .option("--community-id <id>", "the Community ID of the client and the server, as analysers show it: 1:zP0t…=")
    .option("--ja4 <fingerprint>", "the JA4 fingerprint of the ClientHello")
    .option("--since <time>", "began then or later: 1h, 30m, 2026-11-28, 2026-11-28T14:00", readSince)
    .option("--until <time>", "began before, alike", readSince)
    .option("--listener <name>", "the listener that accepted them")
    .option("--client <address>", "the client's address or subnet: 10.9.0.4, 10.0.0.0/8")
    .option("--server <address>", "the server's address or subnet")
    .addOption(new Option("--live", "live sessions only").conflicts("closed"))
    .option("--closed", "closed sessions only")
    .option("--limit <n>", "the most sessions to list (default: 50; with --watch, as many as fit)", wholeNumber(10_000))
    .addOption(
      new Option("--cursor <place>", "go on behind this place, which an earlier list named").conflicts([
        "watch",
        "fleet",
      ]),
    )
    .option("--watch", "update the list every second until Ctrl-C; with --json, print a line of JSON for each change")
    .addOption(
      new Option("--fleet", "search every node that shares this node's store; --limit applies to each").conflicts(
        "watch",
      ),
    )
    .option("--json", "print JSON")
    .action(async (options: Options) => {
      const client = await openClient(options.config);
      if (options.fleet) return listFleet(client, options);
      if (options.watch && options.json) return followChanges(client, options);
      if (options.watch) return watch(client, options);
      const list = await fetchList(client, options, options.limit ?? 50);
      if (options.json) return printJson(list, 2);
      if (list.sessions.length === 0) return print("No session was found.");
      print(table(columns(list), list.sessions));
      if (list.next) print(color.dim(`… and more: the same with --cursor ${list.next}, or with a higher --limit`));
    });
}

/** The sessions of every node, in one table. */
async function listFleet(client: Client, options: Options): Promise<void> {
  const fleet = await client.ask<FleetSessions>("GET", `/fleet/sessions${asked(options, options.limit ?? 50)}`);
  if (options.json) return printJson(fleet, 2);
  const rows = fleet.nodes.flatMap(({ name, sessions }) => sessions.map((session) => ({ ...session, node: name })));
  const foundByCertificate = fleet.nodes.flatMap((node) => node.foundByCertificate);
  const node: Column<Session & { node: string }> = { title: "NODE", rank: 0, value: (row) => row.node };
  if (rows.length === 0) print("No session was found.");
  else print(table([node, ...columns({ foundByCertificate })], rows));
  for (const { name, answered, more } of fleet.nodes) {
    if (!answered) print(color.red(`Node ${name} did not answer in time; its sessions are not known`));
    if (more) print(color.dim(`… and more on node ${name}; try a higher --limit`));
  }
}

function fetchList(client: Client, options: Options, limit: number): Promise<SessionList> {
  return client.ask("GET", `/sessions${asked(options, limit)}`);
}

function asked(options: Options, limit: number): string {
  const live = options.live ? "true" : options.closed ? "false" : undefined;
  return queryOf({ ...filterOf(options), live, limit, cursor: options.cursor });
}

function filterOf({ config, live, closed, limit, cursor, watch, fleet, json, ...filter }: Options) {
  return filter;
}

/** Prints the list anew every second. */
async function watch(client: Client, options: Options): Promise<void> {
  const tty = process.stdout.isTTY === true;
  const leave = () => {
    if (tty) process.stdout.write("\x1b[?25h\n");
    process.exit(0);
  };
  process.once("SIGINT", leave).once("SIGTERM", leave);
  if (tty) process.stdout.write("\x1b[?25l");
  try {
    for (;;) {
      const rows = tty ? Math.max((process.stdout.rows || 24) - 4, 1) : 50;
      const list = await fetchList(client, options, options.limit ?? rows);
      const page = table(columns(list), list.sessions)
        .split("\n")
        .slice(0, rows + 1);
      const title = `Sessions at ${shortTime(Date.now())}, updated every second; Ctrl-C ends`;
      // Home, each line cleared to its end, then the rest of the screen: without flicker.
      if (tty)
        process.stdout.write(
          `\x1b[H${[color.dim(title), "", ...page].map((line) => `${line}\x1b[K\n`).join("")}\x1b[J`,
        );
      else print(title, "", ...page, "");
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  } finally {
    if (tty) process.stdout.write("\x1b[?25h");
  }
}

async function followChanges(client: Client, options: Options): Promise<void> {
  const leave = () => process.exit(0);
  process.once("SIGINT", leave).once("SIGTERM", leave);
  for await (const { live, closed } of client.events<SessionEvents>(
    `/events${queryOf(filterOf(options))}`,
    "sessions",
  )) {
    const changes = [...(options.closed ? [] : live), ...(options.live ? [] : closed)];
    for (const session of changes) printJson(session);
  }
}

function columns({ foundByCertificate }: Pick<SessionList, "foundByCertificate">): Column<Session>[] {
  const byCertificate = new Set(foundByCertificate);
  const found = (session: Session) =>
    byCertificate.has(session.id) ? `${hostOf(session)} (found by certificate)` : hostOf(session);
  return [
    { title: "ID", rank: 0, value: ({ id }) => id },
    { title: "STARTED", rank: 6, value: ({ start }) => shortTime(start) },
    { title: "CLIENT", rank: 2, value: ({ client }) => endpoint(client) },
    { title: "HOST", rank: 0, min: 24, value: found },
    { title: "SERVER", rank: 9, value: ({ server }) => server && endpoint(server) },
    { title: "VERDICT", rank: 0, value: ({ verdict }) => verdict, paint: ({ verdict }) => verdictColor(verdict) },
    { title: "OUTCOME", rank: 0, value: ({ outcome }) => outcome, paint: ({ outcome }) => outcomeColor(outcome) },
    { title: "CAUSE", rank: 4, value: ({ cause }) => cause },
    { title: "BY", rank: 7, min: 16, value: ({ phase, rule }) => phase && `${phase}: ${rule}` },
    { title: "TLS", rank: 8, value: tlsOf },
    {
      title: "STATE",
      rank: 5,
      value: ({ end, state }) => (end === null ? state : "closed"),
      paint: ({ end }) => (end === null ? String : color.dim),
    },
    { title: "UP", rank: 3, right: true, value: ({ clientLeg }) => bytes(clientLeg.received) },
    { title: "DOWN", rank: 3, right: true, value: ({ clientLeg }) => bytes(clientLeg.sent) },
  ];
}

function hostOf({ sni, connectHost, certificate, server }: Session): string | undefined {
  return sni ?? connectHost ?? certificate?.names[0] ?? server?.address;
}

function tlsOf({ protocol, clientLeg, serverLeg }: Session): string | null {
  const version = clientLeg.version ?? serverLeg.version;
  return version?.replace("TLSv", "") ?? (protocol === "tls" ? null : protocol);
}
