import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { growthPage, growthReport, measureGrowth, type Series } from "./growth.ts";
import { TOPOLOGIES, type Topology } from "./hosts.ts";
import { buildNetworks, inlineObstacle, isInline } from "./inline.ts";
import { legsReport, measureLegs } from "./legs.ts";
import type { Plan } from "./loads.ts";
import { type Origin, startOrigin } from "./origin.ts";
import { measureOverload, type Overloads, overloadPage, overloadReport } from "./overload.ts";
import { overloadPlot } from "./overload-plot.ts";
import { plot } from "./plot.ts";
import { exitOnSignals, stop } from "./processes.ts";
import { measureReloads, reloadReport } from "./reload.ts";
import { judge, page, report, wrap } from "./report.ts";
import { benchResumption, resumptionTable } from "./resumption.ts";
import { type Measured, measure, progress, type StartSubject, subjectsOf } from "./rounds.ts";
import { missing, startSubject } from "./subjects.ts";
import { GROUPS, type Group } from "./table.ts";

/**
 * `npm run bench` measures the rows of the table: Clearline beside other programs in front of the same origin, then what
 * feeds, tools, growth, reloads and overload cost, then SSL 3.0 legs beside OpenSSL's. Subjects take turns, so that other load on the machine
 * affects all of them; each number is the median of the rounds.
 *
 * --quick        one short round
 * --only NAME    only this group or this subject (may be repeated)
 * --topology     of the inline rows: routed or bridge
 * --resumption   measure resumed sessions and issued certificates instead
 * --json FILE    also write the numbers to a file
 * --docs         also write the table and the plot of docs/performance.md
 */

const FULL: Plan = { rounds: 3, seconds: 4, connects: 1500, idle: 1 };
const QUICK: Plan = { rounds: 1, seconds: 1, connects: 300, idle: 0.1 };

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    resumption: { type: "boolean", default: false },
    topology: { type: "string", default: "routed" },
    json: { type: "string" },
    docs: { type: "boolean", default: false },
    only: { type: "string", multiple: true },
  },
});

/** Subjects whose conditions have been printed. */
const shown = new Set<string>();

exitOnSignals();
try {
  await bench(options.quick ? QUICK : FULL);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
process.exit();

async function bench(plan: Plan): Promise<void> {
  const needed = ["nginx", "curl", "openssl"].filter(
    (name) => !["bin", "sbin"].some((at) => existsSync(`/usr/${at}/${name}`)),
  );
  if (needed.length > 0) throw new Error(`The bench needs Debian's packages: apt install ${needed.join(" ")}`);
  const topology = TOPOLOGIES.find((name) => name === options.topology);
  if (topology === undefined) throw new Error(`--topology is ${options.topology}, not ${TOPOLOGIES.join(" or ")}`);
  checkOnly();
  if (options.json !== undefined) closeSync(openSync(options.json, "a")); // fails now if the file cannot be written
  const [loadBefore] = loadavg(); // printed with the numbers, which depend on it
  const machine = () => {
    const runs = plan.rounds === 1 ? "One short run" : `Median of ${plan.rounds} runs`;
    return wrap(`${runs}; ${cpus().length} cores, ${cpus()[0]?.model}; load before: ${loadBefore?.toFixed(2)}`).join(
      "\n",
    );
  };
  if (options.resumption) {
    const results = await benchResumption(plan.rounds, plan.seconds);
    console.log(`${resumptionTable(results)}\n${machine()}`);
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
    return;
  }

  const measured = await measureGroups(plan, topology);
  const growth = isAsked("growth") ? await withOrigin((origin) => measureGrowth(origin, plan)) : undefined;
  const legs = isAsked("legs") ? await measureLegs(plan.rounds, plan.seconds) : undefined;
  const reloads = isAsked("reload")
    ? await withOrigin((origin) => measureReloads(origin, Math.max(3, plan.rounds)))
    : undefined;
  const seconds = plan.rounds === 1 ? 10 : 60;
  const overload = isAsked("overload") ? await withOrigin((origin) => measureOverload(origin, seconds)) : undefined;
  if (overload) console.log(`\n${overloadReport(overload)}`);
  if (growth) console.log(`\n${growthReport(growth)}`);
  if (reloads) console.log(`\n${reloadReport(reloads)}`);
  if (legs) console.log(`\n${legsReport(legs)}`);
  console.log(`\n${machine()}`);
  if (options.json !== undefined) {
    const groups = measured.map(({ group, ...rest }) => ({
      name: group.name,
      rows: group.rows.map((row) => ({ ...row, ...judge(row, rest.readings) })),
      ...rest,
    }));
    const document = { plan, machine: machine(), groups, growth, reloads, legs, overload };
    writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
  }
  if (options.docs) {
    // Measured alone, the overload leaves the table of the others as it is.
    if (measured.length > 0) writeDocs(measured, growth, machine());
    if (overload) writeOverload(overload, machine());
  }
  if (measured.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
}

type Results = Measured & { readonly group: Group };

async function measureGroups(plan: Plan, topology: Topology): Promise<readonly Results[]> {
  const results: Results[] = [];
  for (const group of GROUPS) {
    const asked = rowsAsked(group);
    if (asked.rows.length === 0) continue;
    const obstacle = group.place === "networks" ? inlineObstacle() : undefined;
    if (obstacle) {
      progress(`skipped the group ${group.name}: ${obstacle}`);
      continue;
    }
    const run = (origin: Origin, start: StartSubject) => measure(asked, origin, start, plan);
    const measured =
      group.place === "networks"
        ? await withNetworks(asked, topology, run)
        : await withOrigin((origin) => run(origin, (name) => startSubject(name, origin)));
    results.push({ group: asked, ...measured });
    print(asked, measured);
  }
  return results;
}

/** The rows that were asked for and whose programs are on this machine. */
function rowsAsked(group: Group): Group {
  const asked = group.rows.filter(({ ours, theirs }) => [group.name, ours, theirs].some(isAsked));
  const absent = subjectsOf(asked).filter((name) => {
    const needed = missing(name);
    if (needed) progress(`skipped ${name}: apt install ${needed}`);
    return needed;
  });
  return { ...group, rows: asked.filter(({ ours, theirs }) => !absent.includes(ours) && !absent.includes(theirs)) };
}

async function withOrigin<T>(work: (origin: Origin) => Promise<T>): Promise<T> {
  const origin = await startOrigin();
  try {
    return await work(origin);
  } finally {
    await stop(origin.program);
  }
}

async function withNetworks(
  group: Group,
  topology: Topology,
  work: (origin: Origin, start: StartSubject) => Promise<Measured>,
): Promise<Measured> {
  const { origin, start } = await buildNetworks(topology, subjectsOf(group.rows).filter(isInline));
  try {
    return await work(origin, (name) => {
      if (!isInline(name)) throw new Error(`${name} does not stand between two networks`);
      return start(name);
    });
  } finally {
    await stop(origin.program);
  }
}

function print(group: Group, { readings, conditions, failures }: Measured): void {
  console.log(`\n${report(group, readings)}\n`);
  const unseen = Object.entries(conditions).filter(([name]) => !shown.has(name));
  for (const [name] of unseen) shown.add(name);
  const seen = unseen.map(([name, words]) => `${name}: ${words}`);
  for (const line of [...seen, ...failures.map((failure) => `FAILED ${failure}`)]) console.log(wrap(line).join("\n"));
}

/** Replaces what stands between the marks of docs/performance.md. */
function writeDocs(measured: readonly Results[], growth: readonly Series[] | undefined, machine: string): void {
  const text = page(
    measured.flatMap(({ group, readings }) => group.rows.map((row) => [row, judge(row, readings)] as const)),
  );
  const parts = [machine.replaceAll("\n", ""), text, ...(growth ? [growthPage(growth)] : [])];
  writeMeasured("../docs/performance.md", parts);
  if (growth) writeFileSync(fileURLToPath(new URL("../docs/growth.svg", import.meta.url)), plot(growth));
}

function writeOverload(overload: Overloads, machine: string): void {
  writeMeasured("../docs/guide/overload.md", [
    machine.replaceAll("\n", "").replace(/^Median of \d+ runs/, "One run"),
    overloadPage(overload),
  ]);
  writeFileSync(fileURLToPath(new URL("../docs/overload.svg", import.meta.url)), overloadPlot(overload));
}

function writeMeasured(page: string, parts: readonly string[]): void {
  const file = fileURLToPath(new URL(page, import.meta.url));
  const [before, , after] = readFileSync(file, "utf8").split(/(<!-- measured -->[\s\S]*<!-- end -->)/);
  writeFileSync(file, `${before}<!-- measured -->\n\n${parts.join("\n\n")}\n\n<!-- end -->${after}`);
}

function isAsked(name: string): boolean {
  return options.only?.includes(name) ?? true;
}

function checkOnly(): void {
  const known = new Set([
    "growth",
    "reload",
    "overload",
    "legs",
    ...GROUPS.flatMap(({ name, rows }) => [name, ...subjectsOf(rows)]),
  ]);
  const unknown = options.only?.filter((name) => !known.has(name)) ?? [];
  if (unknown.length > 0) throw new Error(`--only is ${unknown.join(", ")}, not one of ${[...known].join(", ")}`);
}
