import { spawnSync } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { TOPOLOGIES, type Topology } from "./hosts.ts";
import { addedBySynHold, buildNetworks, INLINE, INLINE_SUBJECTS, inlineObstacle } from "./inline.ts";
import { LEGS, measureLegs } from "./legs.ts";
import { measureConnects, measurePlain, measureSessions, measureThroughput } from "./measures.ts";
import { startOrigin } from "./origin.ts";
import { exitOnSignals, stop } from "./processes.ts";
import { type Comparison, ratios, table } from "./report.ts";
import { benchResumption, resumptionTable } from "./resumption.ts";
import { type Measure, type Measured, measure, progress } from "./rounds.ts";
import { missing, PEER_SUBJECTS, PEERS, startPeer } from "./subjects.ts";

/**
 * `npm run bench` compares Clearline with its peers in front of the same origin, then SSL 3.0 legs with OpenSSL's. Subjects
 * take turns, so that other load on the machine affects all of them; each number is the median of the rounds.
 *
 * --inline       also measure Clearline between two networks (as root), with --topology routed|bridge
 * --resumption   measure resumed sessions and issued certificates instead
 * --quick        one short round
 * --only NAME    only this subject (may be repeated; `legs` is the SSL 3.0 legs)
 * --json FILE    also write the numbers to a file
 */

interface Plan {
  readonly rounds: number;
  readonly secondsOfSessions: number;
  readonly secondsOfDownload: number;
  readonly connects: number;
  readonly idleSessions: number;
}

const FULL: Plan = { rounds: 3, secondsOfSessions: 6, secondsOfDownload: 4, connects: 1500, idleSessions: 1000 };
const QUICK: Plan = { rounds: 1, secondsOfSessions: 2, secondsOfDownload: 2, connects: 300, idleSessions: 300 };

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    inline: { type: "boolean", default: false },
    resumption: { type: "boolean", default: false },
    topology: { type: "string", default: "routed" },
    json: { type: "string" },
    only: { type: "string", multiple: true },
  },
});

exitOnSignals();
try {
  await bench(options.quick ? QUICK : FULL);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();

async function bench(plan: Plan): Promise<void> {
  const tools = absent(["nginx", "curl", "openssl"]);
  if (tools.length > 0) throw new Error(`The bench needs Debian's packages ${tools.join(", ")}`);
  const topology = TOPOLOGIES.find((name) => name === options.topology);
  if (topology === undefined) throw new Error(`--topology is ${options.topology}, not ${TOPOLOGIES.join(" or ")}`);
  const known: readonly string[] = [...PEER_SUBJECTS, ...INLINE_SUBJECTS, "legs"];
  const unknown = options.only?.filter((name) => !known.includes(name)) ?? [];
  if (unknown.length > 0) throw new Error(`--only is ${unknown.join(", ")}, not one of ${known.join(", ")}`);
  if (options.json !== undefined) closeSync(openSync(options.json, "a")); // fails now if the file cannot be written
  if (options.resumption) return await printResumption(plan);
  const [loadBefore] = loadavg(); // printed with the numbers, which depend on it

  const loads = loadsOf(plan);
  const peers = await benchPeers(plan, loads);
  const inline = await benchInline(plan, loads, topology);
  const legs = isAsked("legs") ? await measureLegs(plan.rounds, plan.secondsOfDownload) : undefined;
  for (const [comparison, measured] of [[PEERS, peers] as const, [INLINE, inline] as const]) {
    if (measured) print(comparison, measured);
  }
  if (legs) console.log(table(LEGS, legs));
  const added = inline && addedBySynHold(inline.results);
  if (added) {
    const [median, slow] = [added.connect, added.connectSlow].map((ms) => `${ms?.toFixed(2)} ms`);
    console.log(`Holding the SYN adds ${median} to the median TCP connect, ${slow} to the 99th percentile`);
  }
  const [cores, cpu] = [cpus().length, cpus()[0]?.model];
  console.log(
    `${plan.rounds === 1 ? "One run" : `Median of ${plan.rounds} runs`}; ${cores} cores, ${cpu}; load before: ${loadBefore?.toFixed(2)}`,
  );
  if (options.json !== undefined) {
    const document = {
      plan,
      cores,
      cpu,
      loadBefore,
      ...(peers && { peers: { ...peers, ratios: ratios(PEERS, peers.results) } }),
      ...(legs && { legs: { results: legs, ratios: ratios(LEGS, legs) } }),
      ...(inline && { inline: { topology, ...inline, synHoldAdds: added, ratios: ratios(INLINE, inline.results) } }),
    };
    writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
  }
  if ([peers, inline].some((measured) => measured && measured.failures.length > 0)) process.exitCode = 1;
}

async function printResumption({ rounds, secondsOfSessions }: Plan): Promise<void> {
  const [loadBefore] = loadavg();
  const results = await benchResumption(rounds, secondsOfSessions);
  console.log(resumptionTable(results));
  console.log(
    `Median of ${rounds} runs; ${cpus().length} cores, ${cpus()[0]?.model}; load before: ${loadBefore?.toFixed(2)}`,
  );
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
}

/** The measures of every subject. */
function loadsOf(plan: Plan): readonly Measure[] {
  const throughput: Measure = { name: "throughput", of: (one) => measureThroughput(one, plan.secondsOfDownload) };
  if (absent(["hey"]).length > 0) {
    progress("skipped the rows of new sessions: they need Debian's package hey");
    return [throughput];
  }
  return [{ name: "sessions", of: (one) => measureSessions(one, plan.secondsOfSessions) }, throughput];
}

async function benchPeers(plan: Plan, loads: readonly Measure[]): Promise<Measured | undefined> {
  const names = PEER_SUBJECTS.filter(isAsked).filter((name) => {
    const needed = missing(name);
    if (needed) progress(`skipped ${name}: needs Debian's package ${needed}`);
    return !needed;
  });
  if (names.length === 0) return undefined;
  const origin = await startOrigin();
  const start = (name: (typeof names)[number]) => startPeer(name, origin);
  const { rounds, idleSessions } = plan;
  const measured = await measure({ names, origin, start, rounds, measures: loads, idleSessions });
  await stop(origin.program);
  return measured;
}

async function benchInline(plan: Plan, loads: readonly Measure[], topology: Topology): Promise<Measured | undefined> {
  const names = INLINE_SUBJECTS.filter(isAsked);
  const obstacle = options.inline ? inlineObstacle() : "--inline measures them, as root";
  if (obstacle) progress(`skipped the inline rows: ${obstacle}`);
  if (obstacle || names.length === 0) return undefined;
  const { origin, start } = await buildNetworks(topology, names);
  const measures: Measure[] = [
    ...loads,
    { name: "no TLS", of: (one) => measurePlain(one, plan.secondsOfDownload) },
    { name: "connects", of: (one) => measureConnects(one, plan.connects) },
  ];
  const measured = await measure({ names, origin, start, rounds: plan.rounds, measures, idleSessions: 0 });
  await stop(origin.program);
  return measured;
}

function isAsked(name: string): boolean {
  return options.only?.includes(name) ?? true;
}

function absent(programs: readonly string[]): readonly string[] {
  return programs.filter((program) => spawnSync(program, ["-h"], { stdio: "ignore" }).error);
}

function print(comparison: Comparison, { results, conditions, failures }: Measured): void {
  console.log(table(comparison, results));
  for (const [name, seen] of Object.entries(conditions)) console.log(`${name}: ${seen}`);
  for (const failure of failures) console.log(`FAILED ${failure}`);
}
