import type { Command } from "commander";
import type { ExplainedEntry, ExplainQuery, Explanation, SessionExplanation } from "../../control/api.ts";
import { ConfigError } from "../../errors.ts";
import { openClient } from "../client.ts";
import { readNamed } from "../named-file.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, facts, fullTime, outcomeColor, plain, print, printJson, table, verdictColor } from "../render.ts";

interface Options extends CommonOptions {
  readonly host?: string;
  readonly client?: string;
  readonly server?: string;
  readonly listener?: string;
  readonly vlan?: string;
  readonly alpn?: string;
  readonly certificate?: string;
  readonly all?: true;
  readonly json?: true;
}

/** With more steps than this, those that do not apply are left out. */
const LINES_MAX = 40;

export function explainCommand(): Command {
  return createCommand(
    "explain",
    "Show what the node would decide about a flow, and why; of a session: what it decided, and would decide now.",
    [
      "explain mh2k8x1a-0-1f",
      "explain --host www.example.com",
      "explain --host www.example.com --client 10.9.0.4 --server 93.184.215.14:443",
      "explain --host expired.example.com --certificate server.pem",
    ],
  )
    .argument("[id]", "a session's id, as `sessions` shows it; without one, the options say what is known of a flow")
    .option("--host <host>", "the SNI or CONNECT host")
    .option("--client <address>", "the client's address")
    .option("--server <address:port>", "the server's address and port")
    .option("--listener <name>", "the listener that accepts the flow")
    .option("--vlan <id>", "the VLAN of a bridge that it comes by: 10, 100/10, untagged")
    .option("--alpn <protocols>", "the protocols that the client offers: h2,http/1.1")
    .option("--certificate <file>", "the server's certificate, in PEM")
    .option("--all", "show every step, however many there are")
    .option("--json", "print JSON")
    .action(async (id: string | undefined, { host, client, server, listener, vlan, alpn, ...options }: Options) => {
      const described = { host, client, server, listener, vlan, alpn };
      if (id !== undefined) {
        if (Object.values({ ...described, certificate: options.certificate }).some((value) => value !== undefined))
          throw new ConfigError("id", "Give an id, or options that describe a flow, not both");
        return explainSession(id, options);
      }
      const certificatePem = options.certificate && (await readNamed("--certificate", options.certificate));
      const query: ExplainQuery = { ...described, certificatePem };
      const explanation = await (await openClient(options.config)).ask<Explanation>("POST", "/explain", query);
      if (options.json) return printJson(explanation, 2);
      print(...page(explanation, options.all === true));
    });
}

/** The facts are the session's own. */
async function explainSession(id: string, options: Pick<Options, "config" | "all" | "json">): Promise<void> {
  const path = `/sessions/${encodeURIComponent(id)}/explanation`;
  const explanation = await (await openClient(options.config)).ask<SessionExplanation>("GET", path);
  if (options.json) return printJson(explanation, 2);
  print(...sessionPage(explanation, options.all === true));
}

function sessionPage(
  { start, decided, facts: seen, today, differs, unsure }: SessionExplanation,
  all: boolean,
): string[] {
  const { monitored, outcome, cause, blame } = decided;
  const ending = `${outcomeColor(outcome)(outcome)}${cause ? `: ${cause}` : ""}${blame ? `, by the ${blame}` : ""}`;
  return [
    `${color.dim(`Then, ${fullTime(start)}:`)} ${sentenceOf(decided)}`,
    ...(decided.reason ? [plain(decided.reason)] : []),
    ...(monitored ? [`Without monitor mode: ${sentenceOf(monitored)}`] : []),
    `It ended ${ending}`,
    "",
    ...(today && differs
      ? [`${color.yellow("Today:")} ${sentenceOf(today)}`, ...(today.reason ? [plain(today.reason)] : [])]
      : [today ? "Today's policy decides the same." : "What today's policy would decide cannot be said."]),
    ...(unsure ? [color.dim(`${plain(unsure)}, so it may be otherwise.`)] : []),
    "",
    ...facts(seen.map(({ name, value }) => [FACTS[name] ?? name, value])),
    ...(today ? ["", ...stepsOf(today.entries, all)] : []),
  ];
}

function sentenceOf({ verdict, phase, rule }: SessionExplanation["decided"]["monitored"] & object): string {
  if (verdict === null) return color.bold("no verdict");
  return `${verdictColor(verdict)(color.bold(verdict))}, in the ${phase} phase, by ${plain(rule ?? "nothing")}`;
}

const FACTS: Readonly<Record<string, string>> = {
  listener: "Listener",
  vlan: "VLAN",
  client: "Client",
  server: "Server",
  sni: "SNI",
  connectHost: "Host asked for",
  upgraded: "Began in plaintext",
  versions: "Versions offered",
  alpn: "ALPN offered",
  keyHeld: "Key held",
  clientCertificateDemanded: "Client certificate",
  channelBound: "Bound log-in",
  certificateRefused: "Refused before",
  certificateNames: "Certificate for",
  certificateIssuer: "Issued by",
  certificateFaults: "Its faults",
};

function page({ entries, verdict, assumed, otherwise }: Explanation, all: boolean): string[] {
  return [
    `${verdictColor(verdict.action)(color.bold(verdict.action))}, in the ${verdict.phase} phase, by ${plain(verdict.rule)}`,
    plain(verdict.reason),
    ...assumed.map((sentence) => color.dim(`Assumed: ${plain(sentence)}.`)),
    ...entries.flatMap(({ reason, name, phase }) =>
      reason === undefined || (name === verdict.rule && phase === verdict.phase)
        ? []
        : [color.dim(`It does not decide, but applies: ${plain(name)}. ${plain(reason)}`)],
    ),
    ...(verdict.provisional ? ["A later phase may still decide otherwise."] : []),
    ...otherwise.map((sentence) => color.dim(`${plain(sentence)}.`)),
    "",
    ...stepsOf(entries, all),
  ];
}

function stepsOf(entries: readonly ExplainedEntry[], all: boolean): string[] {
  const told = all || entries.length <= LINES_MAX ? entries : entries.filter(({ truth }) => truth !== false);
  const left = entries.length - told.length;
  return [steps(told), ...(left > 0 ? [color.dim(`… and ${left} steps that do not apply; --all shows them`)] : [])];
}

function steps(entries: readonly ExplainedEntry[]): string {
  const paint = ({ truth }: ExplainedEntry) => (truth === false ? color.dim : String);
  return table<ExplainedEntry>(
    [
      { title: "PHASE", rank: 0, value: ({ phase }) => phase, paint },
      { title: "GROUP", rank: 0, min: 12, value: shortGroup, paint },
      { title: "NAME", rank: 1, min: 12, value: ({ name }) => name, paint },
      {
        title: "ACTION",
        rank: 0,
        value: ({ action }) => action,
        paint: ({ truth, action }) => (truth === false ? color.dim : verdictColor(action)),
      },
      {
        title: "APPLIES",
        rank: 0,
        value: ({ truth }) => (truth === "unknown" ? "not known" : truth ? "yes" : "no"),
        paint: ({ truth }) => (truth === true ? color.bold : color.dim),
      },
    ],
    entries,
  );
}

/** "fault: expired". With its long form the table is wider than 80 columns. */
function shortGroup({ group }: ExplainedEntry): string {
  return group.replace("certificate faults: ", "fault: ");
}
