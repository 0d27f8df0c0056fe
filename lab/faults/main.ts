/** `npm run faults`: what goes wrong is made to go wrong under traffic, and what the node promises about it is measured. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { Command } from "commander";
import pc from "picocolors";
import { makePki } from "../../test/pki.ts";
import { FAULTS } from "./all.ts";
import { type Fault, type Result, runFault } from "./fault.ts";
import { page, readRows } from "./page.ts";

interface Options {
  readonly only?: readonly string[];
  readonly list?: true;
  readonly quick?: true;
  readonly docs?: true;
}

const PAGE = new URL("../../docs/faults.md", import.meta.url);

await new Command("faults")
  .description("Make faults under traffic, and measure what the node promises about each. Needs root.")
  .option("--only <name...>", "These faults only.")
  .option("--quick", "The short form: those that the tests run.")
  .option("--list", "Print the names and what is done, and do nothing.")
  .option("--docs", "Write the results into docs/faults.md. Rows of faults that did not run stay.")
  .addHelpText("after", "\nExample:\n  npm run -s faults -- --only worker-killed worker-hangs")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
  .action(main)
  .parseAsync();

async function main({ only, list, quick, docs }: Options): Promise<void> {
  const unknown = only?.filter((name) => !FAULTS.some((fault) => fault.name === name)) ?? [];
  if (unknown.length > 0) {
    console.error(`There is no fault ${unknown.join(", ")}. See: npm run -s faults -- --list`);
    process.exit(2);
  }
  const chosen = FAULTS.filter(({ name, quick: isQuick }) => (only?.includes(name) ?? true) && (!quick || isQuick));
  if (list) {
    for (const { name, about } of chosen) console.log(`${name.padEnd(26)} ${about}`);
    return;
  }
  if (process.getuid?.() !== 0) {
    console.error("Cannot make faults: it needs root, for network namespaces, small file systems and limits");
    process.exit(2);
  }
  const results = await runAll(chosen);
  if (docs) {
    const before = existsSync(PAGE) ? readRows(readFileSync(PAGE, "utf8")) : [];
    writeFileSync(PAGE, page([...before, ...results], machine()));
  }
  const count = (outcome: Result["outcome"]) => results.filter((result) => result.outcome === outcome).length;
  console.log(`\n${count("held")} promises held, ${count("broken")} broken, ${count("skipped")} skipped.`);
  process.exit(count("broken") === 0 ? 0 : 1);
}

async function runAll(faults: readonly Fault[]): Promise<readonly Result[]> {
  // The exit removes what was made: programs, folders, file systems.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
  const pki = await makePki();
  const results: Result[] = [];
  for (const [at, fault] of faults.entries()) {
    if (process.stderr.isTTY) process.stderr.write(`[${at + 1}/${faults.length}] ${fault.name}: ${fault.about} …`);
    const result = await runFault(fault, pki);
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    results.push(result);
    console.log(line(result));
  }
  return results;
}

function line({ fault, outcome, measured, seconds }: Result): string {
  const sign = { held: pc.green("✓"), broken: pc.red("✗"), skipped: pc.yellow("-") }[outcome];
  const text = measured.replaceAll("\n", "\n    ");
  return `${sign} ${pc.bold(fault.name)} ${pc.dim(`${seconds.toFixed(0)} s`)}\n    ${fault.about}: ${text}`;
}

function machine(): string {
  const [cpu] = cpus();
  return `Linux ${release()}, ${cpus().length} × ${cpu?.model.trim() ?? "an unknown processor"}, Node ${process.version}`;
}
