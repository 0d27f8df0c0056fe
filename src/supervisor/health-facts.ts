import type {
  AuthorityInfo,
  FeedInfo,
  HealthReason,
  HistoryInfo,
  KeyInfo,
  OverloadInfo,
  StoreInfo,
  ToolInfo,
} from "../control/api.ts";
import type { Conntrack } from "../linux/conntrack.ts";
import type { LimitName } from "../vocabulary.ts";
import { CONNTRACK_REMEDY, judgeConntrack } from "./conntrack.ts";

/** What the node's health is judged by, read at one moment. */
export interface HealthFacts {
  /** ms since the epoch. */
  readonly now: number;
  /** Whether each worker lives, listens and reports. */
  readonly workers: readonly { readonly id: number; readonly accepts: boolean }[];
  readonly feeds: readonly Pick<FeedInfo, "name" | "state" | "reason">[];
  /** The log's targets that take no lines. */
  readonly logStopped: readonly { readonly target: string; readonly reason: string }[];
  readonly tools: readonly Pick<ToolInfo, "name" | "state" | "reason" | "onFailure">[];
  readonly history: Pick<HistoryInfo, "state" | "reason">;
  readonly store: StoreInfo | undefined;
  readonly authorities: readonly Pick<AuthorityInfo, "role" | "keyType" | "notBefore" | "notAfter">[];
  readonly keys: readonly Pick<KeyInfo, "id" | "hosts" | "state">[];
  /** The file systems that the node writes to, in bytes. */
  readonly disks: readonly {
    readonly path: string;
    readonly free: number;
    readonly size: number;
    /** It does not answer. */
    readonly hangs?: boolean;
  }[];
  /** Open files of each process, and the most that it may have. */
  readonly descriptors: readonly { readonly process: string; readonly open: number; readonly limit: number }[];
  readonly sessions: { readonly live: number; readonly most: number; readonly bound: LimitName };
  /** The limits that turned connections away within the last minute. */
  readonly limitsMet: readonly LimitName[];
  readonly overload: Pick<OverloadInfo, "level" | "action" | "workers" | "measures">;
  /** What is not in the kernel as the node left it. */
  readonly deviations: readonly string[];
  /** The kernel's connection table; undefined: there is none. */
  readonly conntrack: Pick<Conntrack, "entries" | "most"> | undefined;
  /** How far the wall clock has moved against the steady clock since the node started, in ms. */
  readonly clockMoved: number;
}

type Found = Omit<HealthReason, "fact">;
type Look = (facts: HealthFacts) => Found | readonly Found[] | undefined;

const DAY = 24 * 3600 * 1000;
/** A CA that expires within this time, in ms, is told of. */
export const SOON = 30 * DAY;
const MIB = 2 ** 20;
/** Below both, a file system is nearly full. */
export const NEARLY_FULL = { part: 0.05, bytes: 512 * MIB };
export const FULL = 16 * MIB;
/** The part of a limit from which on it is nearly met. */
const NEARLY = 0.9;
/** ms by which clocks differ after a leap second, or a day of NTP's slewing. */
const CLOCK = 10_000;

/** Everything that makes a node less than ready: a row for each fact. "failing": other nodes should get its traffic. */
const FACTS: Readonly<Record<HealthReason["fact"], Look>> = {
  workers({ workers }) {
    const idle = workers.filter(({ accepts }) => !accepts);
    if (idle.length === 0) return undefined;
    const status = idle.length === workers.length ? "failing" : "degraded";
    const which =
      status === "failing" ? "No worker accepts" : `Of ${workers.length} workers ${idle.length} do not accept`;
    return { status, reason: `${which} connections`, remedy: "They are started again; the log says why they died" };
  },
  overload: ({ sessions: { live, most, bound }, limitsMet, overload }) => [
    ...judgeOverload(overload),
    ...judgeRoom(live, most, bound, limitsMet),
  ],
  descriptors: ({ descriptors }) =>
    descriptors
      .filter(({ open, limit }) => open >= limit * NEARLY)
      .map(({ process, open, limit }) => ({
        status: "degraded",
        reason: `The ${process} has ${open} of at most ${limit} files and sockets open`,
        remedy: "Raise LimitNOFILE of the service, or ulimit -n",
      })),
  tools: ({ tools }) =>
    tools
      .filter(({ state }) => state === "down")
      .map(({ name, reason, onFailure }) => ({
        status: "degraded",
        reason: `The tool ${name} is down, and its sessions ${onFailure === "drop" ? "are dropped" : "go on without it"}: ${reason ?? ""}`,
        remedy: "Start the tool again; the node uses it once its heartbeats come through",
      })),
  feeds: ({ feeds }) =>
    feeds
      .filter(({ state }) => state === "stopped")
      .map(({ name, reason }) => ({
        status: "degraded",
        reason: `The feed ${name} has stopped: ${reason ?? ""}`,
        remedy: "Make its folder writable and give it room; it tries again by itself",
      })),
  log: ({ logStopped }) =>
    logStopped.map(({ target, reason }) => ({
      status: "degraded",
      reason: `The log does not reach ${target}: ${reason}`,
      remedy: "Make the folder writable and give it room, or have the server answer; it is tried again by itself",
    })),
  history({ history: { state, reason } }) {
    if (state === "running") return undefined;
    const remedy = "Give the data folder room, and make it writable; it tries again by itself";
    return { status: "degraded", reason: `Sessions are not recorded: ${reason ?? ""}`, remedy };
  },
  store({ store }) {
    if (store === undefined || store.state === "connected") return undefined;
    const remedy = "Start the store, or let this node reach it; sessions go on without it";
    return { status: "degraded", reason: `The shared store does not answer: ${store.reason ?? ""}`, remedy };
  },
  authorities: ({ authorities, now }) =>
    authorities.flatMap((one): Found[] => {
      const found = judgeDates(one, now);
      if (!found) return [];
      return [{ ...found, reason: `The ${one.role} CA (${one.keyType}) ${found.reason}` }];
    }),
  keys({ keys }) {
    const named = (state: KeyInfo["state"]) => keys.filter((key) => key.state === state);
    return (["expired", "not yet valid", "expires soon"] as const).flatMap((state): Found[] => {
      const found = named(state);
      if (found.length === 0) return [];
      const hosts = found.slice(0, 3).map((key) => key.hosts[0] ?? key.id);
      const more = found.length > hosts.length ? ` and ${found.length - hosts.length} more` : "";
      const reason = `Certificates of inbound keys (${state}): ${hosts.join(", ")}${more}`;
      return [{ status: "degraded", reason, remedy: "Add the new certificates: clearline keys add" }];
    });
  },
  disk: ({ disks }) =>
    disks.flatMap(({ path, free, size, hangs }): Found[] => {
      if (hangs) {
        const remedy =
          "Mend the disk, or the way to the server that has it; the node goes on by itself when it answers";
        return [{ status: "degraded", reason: `The disk of ${path} does not answer`, remedy }];
      }
      if (free >= NEARLY_FULL.bytes || free >= size * NEARLY_FULL.part) return [];
      const reason = `The disk of ${path} ${free < FULL ? "is full" : "is nearly full"}: ${Math.floor(free / MIB)} MiB are free`;
      return [
        { status: "degraded", reason, remedy: "Make room, or keep less: history.keep, keep and rotate of feeds" },
      ];
    }),
  rules({ deviations }) {
    if (deviations.length === 0) return undefined;
    const more = deviations.length > 3 ? `; and ${deviations.length - 3} more` : "";
    const reason = `The kernel is not set up as the node left it: ${deviations.slice(0, 3).join("; ")}${more}`;
    return { status: "degraded", reason, remedy: "Start the node again, and find who changes them: nft monitor" };
  },
  conntrack({ conntrack }) {
    const reason = judgeConntrack(conntrack);
    return reason === undefined ? undefined : { status: "degraded", reason, remedy: CONNTRACK_REMEDY };
  },
  clock({ clockMoved }) {
    if (Math.abs(clockMoved) < CLOCK) return undefined;
    const reason = `The clock was moved by ${Math.round(clockMoved / 1000)} s since the node started`;
    return { status: "degraded", reason, remedy: "Keep the clock by NTP: certificates and records are dated by it" };
  },
};

function judgeOverload({ level, action, workers, measures }: HealthFacts["overload"]): Found[] {
  if (level === "none") return [];
  const met = measures.filter((one) => one.level !== "none").map(({ measure }) => `overload.${measure}`);
  const how = `${level === "all" ? "all" : "half of the"} new sessions ${action === "bypass" ? "are bypassed" : "are dropped"}`;
  const who = workers.length === 1 ? `Worker ${workers[0]} is` : `Workers ${workers.join(", ")} are`;
  const reason = `${who} overloaded (${met.join(", ")}): ${how} that would be decrypted`;
  return [{ status: "degraded", reason, remedy: "Add workers or nodes, or raise the threshold: clearline stats" }];
}

function judgeRoom(live: number, most: number, bound: LimitName, limitsMet: HealthFacts["limitsMet"]): Found[] {
  if (limitsMet.length > 0) {
    const reason = `Within a minute connections were refused, or sessions ended for others, by ${limitsMet.join(", ")}`;
    return [{ status: "degraded", reason, remedy: "Raise the limit, or add nodes: clearline stats" }];
  }
  if (live < most * NEARLY) return [];
  const reason = `${live} of at most ${most} sessions are live (${bound})`;
  return [{ status: "degraded", reason, remedy: "Raise what bounds them, or add nodes" }];
}

/** What is wrong with a CA's validity now. The reason lacks its subject. */
export function judgeDates(
  { notBefore, notAfter }: { readonly notBefore: number; readonly notAfter: number },
  now: number,
): Found | undefined {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  if (now < notBefore) {
    const remedy = "Set the clock right; a CA that was given must be valid already";
    return { status: "failing", reason: `is not valid before ${day(notBefore)}`, remedy };
  }
  const remedy = "Make the next one and have clients trust it: docs/guide/trust.md";
  if (now >= notAfter) return { status: "failing", reason: `expired on ${day(notAfter)}`, remedy };
  if (notAfter - now >= SOON) return undefined;
  return { status: "degraded", reason: `expires on ${day(notAfter)}`, remedy };
}

/** Judges each fact of the table. The worst come first. */
export function judgeHealth(facts: HealthFacts): HealthReason[] {
  const found = (Object.keys(FACTS) as HealthReason["fact"][]).flatMap((fact) =>
    [FACTS[fact](facts) ?? []].flat().map((one): HealthReason => ({ fact, ...one })),
  );
  return found.sort((one, other) => Number(other.status === "failing") - Number(one.status === "failing"));
}

/** The node's health as a whole: that of its worst fact. */
export function worstOf(reasons: readonly Pick<HealthReason, "status">[]): "ready" | "degraded" | "failing" {
  if (reasons.some(({ status }) => status === "failing")) return "failing";
  return reasons.length > 0 ? "degraded" : "ready";
}
