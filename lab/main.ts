/** `npm run lab`: a client, a node and a server in network namespaces of this machine, with real servers and traffic. */
import { Command, InvalidArgumentError, Option } from "commander";
import pc from "picocolors";
import { makePki } from "../test/pki.ts";
import { checkClaims } from "./check.ts";
import { openStage } from "./claim.ts";
import { TOPOLOGIES, type Topology } from "./network.ts";
import { drawNetwork, listCommands } from "./picture.ts";
import { missingRequirement } from "./requirements.ts";
import { makeTraffic, type Round } from "./traffic.ts";

interface LabOptions {
  readonly topology: Topology;
  readonly check?: true;
  readonly traffic: boolean;
  /** ms */
  readonly duration?: number;
}

try {
  await new Command("lab")
    .description(
      "Open a client, a node and a server in network namespaces of this machine, with real traffic. Needs root.",
    )
    .addOption(
      new Option("--topology <topology>", "How the node connects its two networks")
        .choices(TOPOLOGIES)
        .default("bridge"),
    )
    .option("--check", "Try every claim about the node, print a line for each, and exit: with code 1 if one is false.")
    .option(
      "--duration <time>",
      "Close the lab after this time, such as 90s, 10m or 2h. Default: on Ctrl-C.",
      readDuration,
    )
    .option("--no-traffic", "Make no traffic.")
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2))
    .action(openLab)
    .parseAsync();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

async function openLab({ topology, check, traffic, duration }: LabOptions): Promise<void> {
  const problem = missingRequirement();
  if (problem !== undefined) {
    console.error(`Cannot open the lab: it ${problem}`);
    process.exitCode = 1;
    return;
  }
  const pki = await makePki();
  if (check) {
    const failures = await checkClaims(topology, pki, (line) => console.log(line));
    console.log(
      failures === 0 ? "\nAll claims are true." : `\n${failures} ${failures === 1 ? "claim is" : "claims are"} false.`,
    );
    process.exitCode = failures === 0 ? 0 : 1;
    return;
  }

  await using stage = await openStage(topology, { about: "The lab", tools: [{ name: "ips" }], claims: [] }, pki);
  process.on("exit", () => console.log("\nThe lab is closed, and everything that it made is removed."));
  console.log(`\n${drawNetwork(stage)}\n\nIn other terminals, as root, from this folder:\n\n${listCommands(stage)}\n`);
  console.log(`${traffic ? "Traffic flows." : "The lab makes no traffic."} Ctrl-C closes the lab.\n`);

  const over = new AbortController();
  const timer = duration === undefined ? undefined : setTimeout(() => over.abort(), duration);
  const failed = stage.node.process.ended.then(() => {
    if (!over.signal.aborted) throw new Error(`The node has ended unexpectedly:\n${stage.node.process.output()}`);
  });
  try {
    await Promise.race([traffic ? makeTraffic(stage, over.signal, createReport()) : aborted(over.signal), failed]);
  } finally {
    over.abort();
    clearTimeout(timer);
  }
}

/** Prints every failure, and the counts after the first and every tenth round. */
function createReport(): (round: Round) => void {
  let rounds = 0;
  let done = 0;
  return (round) => {
    rounds++;
    done += round.done;
    const time = new Date().toTimeString().slice(0, 8);
    for (const name of round.failed) console.log(pc.red(`${time}  ${name} failed`));
    if (rounds === 1 || rounds % 10 === 0) console.log(pc.dim(`${time}  ${rounds} rounds, ${done} requests`));
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  // An abort signal does not keep this process alive; the pipe to the node does.
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

function readDuration(text: string): number {
  const [, count, unit] = /^(\d{1,6})(s|m|h)$/.exec(text) ?? [];
  if (count === undefined) throw new InvalidArgumentError("It is not a time such as 90s, 10m or 2h.");
  return Number(count) * { s: 1000, m: 60_000, h: 3_600_000 }[unit as "s" | "m" | "h"];
}
