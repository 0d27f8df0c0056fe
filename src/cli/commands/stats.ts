import type { Command } from "commander";
import type { FeedInfo, KernelCount, ListenerCounters, Stats, ToolInfo, WorkerInfo } from "../../control/api.ts";
import type { Action } from "../../vocabulary.ts";
import { openClient } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { amount, bytes, color, duration, facts, fullTime, print, printJson, table } from "../render.ts";

export function statsCommand(): Command {
  return createCommand("stats", "Show what the node has done since it started.", ["stats", "stats --json"])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const stats = await (await openClient(options.config)).ask<Stats>("GET", "/stats");
      if (options.json) return printJson(stats, 2);
      print(...page(stats));
    });
}

function page(stats: Stats): string[] {
  const { mint, dns, history, supervisor } = stats;
  const stopped = history.state === "stopped" ? `stopped: ${history.reason}` : amount(history.sessions, "session");
  return [
    ...facts([
      ["Clearline", stats.version],
      ["Health", health(stats)],
      ["Started", `${fullTime(stats.startedAt)}, ${duration(Date.now() - stats.startedAt)} ago`],
      ["Live sessions", `${stats.sessions.live} of ${stats.limits.sessions} (${stats.limits.bound})`],
      ["Overload", overload(stats)],
      ["Certificates", `${mint.minted} issued, ${mint.hits} presented again`],
      [
        "DNS",
        `${amount(dns.size, "name")} kept, ${dns.hits} found (${dns.negative} failures), ${dns.misses} asked, ${dns.waiting} waiting`,
      ],
      ["History", stopped],
      [
        "Supervisor",
        `${bytes(supervisor.memory)}, ${supervisor.cpu.toFixed(1)} s of CPU time${supervisor.delay ? `, its loop ${late(supervisor)} late` : ""}`,
      ],
      ["Shared store", stats.store && (stats.store.reason ? `alone: ${stats.store.reason}` : "connected")],
    ]),
    ...listeners(stats),
    ...faults(stats),
    ...turnedAway(stats),
    ...section("Workers", workers(stats)),
    ...(stats.tools.length > 0 ? section("Tools", tools(stats)) : []),
    ...(stats.feeds.length > 0 ? section("Feeds", feeds(stats)) : []),
    ...(stats.kernel.length > 0 ? section("Kernel", kernel(stats)) : []),
  ];
}

function health({ health: { status, reasons } }: Stats): string {
  return [status, ...reasons.map(({ reason }) => reason)].join("; ");
}

/** Shown when there is something to say. */
function overload({ overload: { level, bypassed, dropped, measures } }: Stats): string | undefined {
  if (level === "none" && bypassed + dropped === 0) return undefined;
  const met = measures.filter((one) => one.level !== "none").map(({ measure }) => measure);
  const now = level === "none" ? "none now" : `${level} of the new sessions now (${met.join(", ")})`;
  return `${now}; ${bypassed} bypassed, ${dropped} dropped`;
}

function section(title: string, text: string): string[] {
  return ["", color.bold(title), text];
}

interface ListenerRow {
  readonly name: string;
  readonly at: string | undefined;
  readonly counters: ListenerCounters | undefined;
}

/** The listeners, and those that a reload removed and that still have counters. */
function listeners({ listeners, counters }: Stats): string[] {
  const known = listeners.map(({ name, mode, address }) => ({ name, at: `${mode} ${address}` }));
  const gone = Object.keys(counters).filter((name) => !known.some((one) => one.name === name));
  const rows: ListenerRow[] = [...known, ...gone.map((name) => ({ name, at: undefined }))].map((row) => ({
    ...row,
    counters: counters[row.name],
  }));
  const decided = (verdict: Action) => ({
    title: verdict.toUpperCase(),
    rank: 0,
    right: true,
    value: ({ counters }: ListenerRow) =>
      Object.values(counters?.decided[verdict] ?? {}).reduce((sum, n) => sum + n, 0),
  });
  const columns = [
    { title: "LISTENER", rank: 0, min: 8, value: ({ name }: ListenerRow) => name },
    { title: "AT", rank: 6, value: ({ at }: ListenerRow) => at },
    { title: "OPEN", rank: 0, right: true, value: ({ counters }: ListenerRow) => counters?.open ?? 0 },
    { title: "TOTAL", rank: 0, right: true, value: ({ counters }: ListenerRow) => counters?.total ?? 0 },
    decided("decrypt"),
    decided("bypass"),
    decided("drop"),
    { title: "FAILED", rank: 3, right: true, value: ({ counters }: ListenerRow) => counters?.handshakeFailures ?? 0 },
    {
      title: "UP",
      rank: 2,
      right: true,
      value: ({ counters }: ListenerRow) => bytes(counters?.bytes.clientReceived ?? 0),
    },
    {
      title: "DOWN",
      rank: 1,
      right: true,
      value: ({ counters }: ListenerRow) => bytes(counters?.bytes.clientSent ?? 0),
    },
  ];
  return section("Sessions", table(columns, rows));
}

function faults({ counters }: Stats): string[] {
  const sums = new Map<string, number>();
  for (const { faults } of Object.values(counters)) {
    for (const [fault, sessions] of Object.entries(faults)) sums.set(fault, (sums.get(fault) ?? 0) + sessions);
  }
  return sums.size === 0 ? [] : ["", color.bold("Faults of server certificates"), ...facts([...sums])];
}

function turnedAway({ limits: { met } }: Stats): string[] {
  if (met.length === 0) return [];
  const columns = [
    { title: "LIMIT", rank: 0, value: ({ limit }: LimitMet) => limit },
    { title: "REFUSED", rank: 0, right: true, value: ({ refused }: LimitMet) => refused },
    { title: "ENDED FOR OTHERS", rank: 0, right: true, value: ({ evicted }: LimitMet) => evicted },
  ];
  return section("Limits that were met", table(columns, met));
}

type LimitMet = Stats["limits"]["met"][number];

function workers({ workers }: Stats): string {
  return table<WorkerInfo>(
    [
      { title: "WORKER", rank: 0, value: ({ id }) => id },
      { title: "PID", rank: 0, value: ({ pid }) => pid },
      { title: "UP FOR", rank: 0, value: ({ startedAt }) => duration(Date.now() - startedAt) },
      { title: "RESTARTS", rank: 1, right: true, value: ({ restarts }) => restarts },
      { title: "SESSIONS", rank: 0, right: true, value: ({ sessions }) => sessions },
      { title: "MEMORY", rank: 2, right: true, value: ({ memory }) => (memory === undefined ? null : bytes(memory)) },
      { title: "CPU", rank: 3, right: true, value: ({ cpu }) => `${cpu.toFixed(1)} s` },
      { title: "LATE", rank: 2, right: true, value: late },
    ],
    workers,
  );
}

/** How late its event loop was in the last 10 s: the 99th percentile, and the most. */
function late({ delay }: Pick<WorkerInfo, "delay">): string | null {
  return delay ? `${delay.p99.toFixed(1)}/${delay.max.toFixed(1)} ms` : null;
}

/** What the kernel decided or handed to a worker. Of a TCP connection only the first packet is counted. */
function kernel({ kernel }: Stats): string {
  return table<KernelCount>(
    [
      { title: "LISTENER", rank: 0, value: ({ listener }) => listener || "the machine" },
      { title: "COUNTS", rank: 0, value: counted },
      { title: "PACKETS", rank: 0, right: true, value: ({ packets }) => packets },
    ],
    kernel,
  );
}

function counted({ counts, name }: KernelCount): string {
  if (name === undefined) return counts;
  return counts === "vlan" ? `tagged: VLAN ${name}` : `rule: ${name}`;
}

function feeds({ feeds }: Stats): string {
  return table<FeedInfo>(
    [
      { title: "FEED", rank: 0, value: ({ name }) => name },
      { title: "KIND", rank: 2, value: ({ kind }) => kind },
      {
        title: "STATE",
        rank: 0,
        min: 12,
        value: ({ state, reason }) => (reason ? `${state}: ${reason}` : state),
        paint: ({ state }) => (state === "running" ? String : color.red),
      },
      { title: "SESSIONS", rank: 1, right: true, value: ({ sessions }) => sessions },
      { title: "PACKETS", rank: 3, right: true, value: ({ packets }) => packets },
      { title: "BYTES", rank: 1, right: true, value: ({ bytes: count }) => bytes(count) },
      { title: "LEFT OUT", rank: 2, right: true, value: ({ dropped }) => dropped },
    ],
    feeds,
  );
}

function tools({ tools }: Stats): string {
  return table<ToolInfo>(
    [
      { title: "TOOL", rank: 0, value: ({ name }) => name },
      { title: "KIND", rank: 2, value: ({ kind }) => kind },
      {
        title: "STATE",
        rank: 0,
        min: 12,
        value: ({ state, reason, onFailure }) => (state === "up" ? state : `down (${onFailure}): ${reason ?? ""}`),
        paint: ({ state }) => (state === "up" ? String : color.red),
      },
      { title: "SESSIONS", rank: 1, right: true, value: ({ sessions }) => sessions },
      { title: "STRANGERS", rank: 3, right: true, value: ({ strangers }) => strangers },
    ],
    tools,
  );
}
