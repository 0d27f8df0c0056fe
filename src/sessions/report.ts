import { z } from "zod";
import { ACTIONS } from "../vocabulary.ts";
import type { Frozen, Session } from "./record.ts";
import { action, phase } from "./record.ts";

/**
 * What the policy did in a span of time, or would have done without monitor mode. It is made from the records of TLS
 * sessions, one after the other, and its size does not depend on how many there are.
 */

const number = z.int().nonnegative();
const hosts = z.array(z.string()).readonly().describe("the hosts of up to five of these sessions");

export const report = z.object({
  since: number.describe("ms since the epoch; sessions that began earlier are not counted"),
  sessions: number.describe("sessions in the history and live ones"),
  monitored: number.describe("those among them that monitor mode let pass"),
  verdicts: z
    .record(z.enum([...ACTIONS, "none"]), number)
    .describe("by verdict, without monitor mode; none: no TLS was judged"),
  failing: z
    .object({ sessions: number, hosts })
    .describe("sessions that the policy decrypts, whose handshake with the server failed"),
  hosts: z
    .array(z.object({ host: z.string(), verdict: action, rule: z.string(), reason: z.string(), sessions: number }))
    .readonly()
    .describe("by host and rule, those with most sessions first; 100 at most"),
  rules: z
    .array(z.object({ rule: z.string(), phase, verdict: action, sessions: number }))
    .readonly()
    .describe("by rule, list or built-in, those with most sessions first"),
  versions: z
    .array(z.object({ version: z.string(), sessions: number }))
    .readonly()
    .describe("of TLS with servers"),
  weakSuites: z
    .array(z.object({ suite: z.string(), weakness: z.string(), sessions: number, hosts }))
    .readonly()
    .describe("suites that the node and servers agreed on and that TLS 1.3 no longer has"),
  faults: z
    .array(z.object({ fault: z.string(), sessions: number, hosts }))
    .readonly()
    .describe("by what is wrong with the server's certificate"),
  asymmetric: z
    .array(z.object({ listener: z.string(), packets: number }))
    .readonly()
    .describe(
      "inline listeners, with the packets since the node's start of connections of which one direction alone crosses it: " +
        "such connections cannot be decrypted. Empty: the kernel has seen none",
    ),
});

export type Report = Frozen<z.output<typeof report>>;

const HOSTS_SHOWN = 100;
const EXAMPLES = 5;
/** A stranger chooses host names. Sessions beyond this many different rows still count in the sums. */
const ROWS_MAX = 10_000;

/** `since` in ms since the epoch. */
export class Reporter {
  readonly #since: number;
  #sessions = 0;
  #monitored = 0;
  readonly #verdicts = { decrypt: 0, bypass: 0, drop: 0, none: 0 };
  readonly #failing = noExamples();
  readonly #hosts = new Map<string, { -readonly [Key in keyof HostRow]: HostRow[Key] }>();
  readonly #rules = new Map<string, { -readonly [Key in keyof RuleRow]: RuleRow[Key] }>();
  readonly #versions = new Map<string, number>();
  readonly #suites = new Map<string, Examples>();
  readonly #faults = new Map<string, Examples>();

  constructor(since: number) {
    this.#since = since;
  }

  add(session: Session): void {
    if (session.start < this.#since) return;
    this.#sessions += 1;
    if (session.monitored) this.#monitored += 1;
    this.#addVerdict(session);
    const host = hostOf(session);
    const { version, suite } = session.serverLeg;
    if (version !== undefined) this.#versions.set(version, (this.#versions.get(version) ?? 0) + 1);
    if (suite !== undefined && weaknessOf(suite)) addExample(entryOf(this.#suites, suite), host);
    for (const { fault } of session.certificate?.faults ?? []) addExample(entryOf(this.#faults, fault), host);
  }

  #addVerdict(session: Session): void {
    const { verdict, phase, rule, reason } = session.monitored ?? session;
    this.#verdicts[verdict ?? "none"] += 1;
    if (verdict === null || phase === null || rule === null) return;
    const host = hostOf(session);
    const key = JSON.stringify([host, verdict, rule]);
    const row = this.#hosts.get(key);
    if (row) row.sessions += 1;
    else if (this.#hosts.size < ROWS_MAX)
      this.#hosts.set(key, { host, verdict, rule, reason: reason ?? "", sessions: 1 });
    const ofRule = JSON.stringify([rule, phase, verdict]);
    const known = this.#rules.get(ofRule);
    if (known) known.sessions += 1;
    else if (this.#rules.size < ROWS_MAX) this.#rules.set(ofRule, { rule, phase, verdict, sessions: 1 });
    const over = session.end !== null && session.protocol === "tls";
    if (verdict === "decrypt" && over && session.serverLeg.version === undefined) addExample(this.#failing, host);
  }

  /** `asymmetric`: what the kernel has counted. */
  answer(asymmetric: Report["asymmetric"]): Report {
    const most = <Row extends { readonly sessions: number }>(rows: Iterable<Row>) =>
      [...rows].sort((a, b) => b.sessions - a.sessions);
    const shown = ({ sessions, hosts }: Examples) => ({ sessions, hosts: [...hosts] });
    return {
      since: this.#since,
      sessions: this.#sessions,
      monitored: this.#monitored,
      verdicts: this.#verdicts,
      failing: shown(this.#failing),
      hosts: most(this.#hosts.values()).slice(0, HOSTS_SHOWN),
      rules: most(this.#rules.values()),
      versions: most([...this.#versions].map(([version, sessions]) => ({ version, sessions }))),
      weakSuites: most(
        [...this.#suites].map(([suite, row]) => ({ suite, weakness: weaknessOf(suite) ?? "", ...shown(row) })),
      ),
      faults: most([...this.#faults].map(([fault, row]) => ({ fault, ...shown(row) }))),
      asymmetric,
    };
  }
}

type HostRow = Report["hosts"][number];
type RuleRow = Report["rules"][number];

interface Examples {
  sessions: number;
  readonly hosts: Set<string>;
}

function noExamples(): Examples {
  return { sessions: 0, hosts: new Set() };
}

function entryOf(rows: Map<string, Examples>, name: string): Examples {
  const found = rows.get(name) ?? noExamples();
  if (rows.size < ROWS_MAX) rows.set(name, found);
  return found;
}

function addExample(row: Examples, host: string): void {
  row.sessions += 1;
  if (row.hosts.size < EXAMPLES) row.hosts.add(host);
}

export function hostOf({ sni, connectHost, certificate, server }: Session): string {
  return sni ?? connectHost ?? certificate?.names[0] ?? server?.address ?? "unknown";
}

/** Why this suite, by IANA's name, is not in TLS 1.3 (RFC 8446, section 1.2); undefined: it is as good as those that are. */
export function weaknessOf(suite: string): string | undefined {
  return WEAKNESSES.find(([pattern]) => pattern.test(suite))?.[1];
}

const WEAKNESSES: readonly (readonly [RegExp, string])[] = [
  [/_(?:NULL|EXPORT|anon)_|_NULL$/i, "no protection"],
  [/_RC4_/, "RC4 (RFC 7465)"],
  [/_3DES_|_DES_/, "blocks of 64 bits"],
  [/^TLS_(?:RSA|DH|ECDH)_(?!anon)/, "no forward secrecy"],
  [/_CBC_/, "CBC: encrypted after its MAC"],
];
