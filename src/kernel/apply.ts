import { rmSync } from "node:fs";
import { ConfigError, NetworkError } from "../errors.ts";
import { within } from "../linux/netns.ts";
import { type Command, runProgram } from "../linux/program.ts";
import { readLink } from "../linux/routes.ts";
import { readSysctl, readSysctls, writeSysctl } from "../linux/sysctls.ts";
import { onBehalfOf } from "./behalf.ts";
import {
  currentPlace,
  type Entry,
  isRunning,
  type Journal,
  type Memory,
  ownIdentity,
  readJournal,
  writeJournal,
} from "./journal.ts";
import type { Step } from "./step.ts";

/**
 * Does the steps in order. Each stands in the journal (mode 0600) before it is done, so that it is taken down even after a
 * crash. What an earlier run left there is taken over as it stands when the steps are the same, so that no traffic is cut; else it
 * is undone first. When a step fails the ones before it are undone. Returns what could not be undone, a sentence each. Synchronous.
 * Throws ConfigError.
 */
export function applyPlan(plan: { readonly steps: readonly Step[] }, journalFile: string): readonly string[] {
  if (adoptPlan(plan.steps, journalFile)) return [];
  const left = undoPlan(journalFile);
  if (left.length > 0 && readJournal(journalFile) !== undefined) {
    throw new ConfigError("listeners", `Cannot take down what an earlier run set up: ${left.join("; ")}`);
  }
  const journal: Journal = { place: currentPlace(), owner: ownIdentity(), entries: [] };
  try {
    for (const step of plan.steps) {
      const entry: Entry = { step: undoing(step), done: false };
      const memory = remember(step);
      if (memory !== undefined) entry.memory = memory;
      journal.entries.push(entry);
      writeJournal(journalFile, journal);
      onBehalfOf(step.path, () => perform(step, entry));
      entry.done = true;
    }
    writeJournal(journalFile, journal);
  } catch (error) {
    forgetFailed(journal);
    // From memory: the disk may be what failed.
    close(journalFile, takeDown(journal));
    throw error;
  }
  return left;
}

/** Whether all of it stands already. Its rules are loaded anew, in one transaction: they may be others. */
function adoptPlan(steps: readonly Step[], journalFile: string): boolean {
  const journal = readJournal(journalFile);
  if (journal === undefined || journal.place !== currentPlace()) return false;
  refuseRunning(journal, journalFile);
  const same = JSON.stringify(journal.entries.map(({ step }) => step)) === JSON.stringify(steps.map(undoing));
  if (!same || !journal.entries.every(({ step, done }) => done && stands(step))) return false;
  writeJournal(journalFile, { ...journal, owner: ownIdentity() });
  for (const step of steps) if (step.kind === "command" && step.input !== undefined) runProgram(step.run, step.input);
  return true;
}

/** Whether what a step makes is there. What is loaded anew need not be. */
function stands(step: Step): boolean {
  switch (step.kind) {
    case "command":
      return step.undoInput !== undefined || says(step.check);
    case "sysctl": {
      const value = readSysctl(step.key);
      return value === step.value || (value === undefined && step.optional === true);
    }
    case "link-up":
      return readLink(step.name)?.up === true;
    case "bridge-port":
      return readLink(step.name)?.master === step.bridge;
    case "hold-table":
      return hasTable(step.family);
    case "move-link":
    case "inside":
      // A tool's namespace is made anew: nothing but its sessions goes through it, and they ended with their node.
      return false;
  }
}

function says(check: Command | undefined): boolean {
  if (check === undefined) return false;
  try {
    return runProgram(check).trim() !== "";
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

/** A command that fails has done nothing: what it would have made may be there all the same, and is somebody else's. */
function forgetFailed({ entries }: Journal): void {
  const last = entries.at(-1);
  if (last?.step.kind === "command" && !last.done) entries.pop();
}

/**
 * Takes down what the journal says was set up, the last first, and removes the journal. Nothing happens without one, nor when it
 * tells of another boot or network namespace. Returns what could not be undone, a sentence each: mostly what somebody else took away.
 * The journal stays when nothing at all could be undone, which means that the right to do so is missing. Synchronous. Throws
 * ConfigError when it is the journal of another process that runs.
 */
export function undoPlan(journalFile: string): readonly string[] {
  const journal = readJournal(journalFile);
  if (journal === undefined) return [];
  refuseRunning(journal, journalFile);
  const outcome = journal.place === currentPlace() ? takeDown(journal) : { undone: 0, problems: [] };
  close(journalFile, outcome);
  return outcome.problems;
}

function refuseRunning({ owner }: Journal, journalFile: string): void {
  if (owner === undefined || owner.pid === process.pid || !isRunning(owner)) return;
  throw new ConfigError("dataDir", `Cannot take down what ${journalFile} lists: its node, process ${owner.pid}, runs`);
}

interface Outcome {
  readonly undone: number;
  readonly problems: readonly string[];
}

function takeDown({ entries }: Journal): Outcome {
  const problems: string[] = [];
  let undone = 0;
  for (const entry of entries.toReversed()) {
    try {
      revert(entry);
      undone++;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // Whether it was done at all is not known: it may well not be there.
      if (entry.done) problems.push(error.message);
    }
  }
  return { undone, problems };
}

/** When nothing at all could be undone, a later run with the right to do so still needs the journal. */
function close(journalFile: string, { undone, problems }: Outcome): void {
  if (problems.length === 0 || undone > 0) rmSync(journalFile, { force: true });
}

/** What the journal keeps of a step: a ruleset can be long, and is not needed to take it down. */
function undoing(step: Step): Step {
  if (step.kind === "inside") return { ...step, steps: [] };
  if (step.kind !== "command") return step;
  const { input: _, ...rest } = step;
  return rest;
}

function remember(step: Step): Memory | undefined {
  if (step.kind === "link-up" || step.kind === "move-link")
    return { kind: "present", present: readLink(step.name)?.up === true };
  if (step.kind === "hold-table") return { kind: "present", present: hasTable(step.family) };
  if (step.kind !== "sysctl") return undefined;
  return { kind: "settings", before: settings(step), after: {} };
}

function perform(step: Step, entry: Entry): void {
  if (step.kind === "command") runProgram(step.run, step.input);
  if (step.kind === "link-up") runProgram(["ip", "link", "set", step.name, "up"]);
  if (step.kind === "bridge-port") enslave(step);
  if (step.kind === "move-link") runProgram(["ip", "link", "set", step.name, "netns", step.namespace]);
  if (step.kind === "inside") inside(step.namespace, () => performInside(step));
  if (step.kind !== "sysctl" || entry.memory?.kind !== "settings") return;
  const current = entry.memory.before[step.key];
  if (current === undefined && step.optional !== true) {
    throw new ConfigError(
      "listeners",
      `Cannot set ${step.key}: there is no such network interface, or this kernel cannot do it`,
    );
  }
  if (current === undefined || current === step.value) return;
  writeSysctl(step.key, step.value);
  entry.memory = { ...entry.memory, after: settings(step) };
}

/** The kernel would take the interface from whoever has it, without a word. */
function enslave({ name, bridge }: Step & { kind: "bridge-port" }): void {
  const master = readLink(name)?.master;
  if (master !== undefined) {
    throw new ConfigError("listeners", `Cannot make ${name} a port of the bridge ${bridge}: it belongs to ${master}`);
  }
  runProgram(["ip", "link", "set", name, "master", bridge]);
}

function performInside({ steps }: Step & { kind: "inside" }): void {
  for (const step of steps) {
    onBehalfOf(step.path, () => {
      if (step.kind === "command") runProgram(step.run, step.input);
      else writeSysctl(step.key, step.value);
    });
  }
}

function inside(namespace: string, act: () => void): void {
  try {
    within(namespace, act);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    throw new ConfigError("listeners", error.message, { cause: error });
  }
}

function settings(step: Step & { kind: "sysctl" }): Record<string, string> {
  const value = readSysctl(step.key);
  const along = step.alongside === undefined ? [] : readSysctls(step.alongside);
  return { ...Object.fromEntries(along), ...(value !== undefined && { [step.key]: value }) };
}

function revert({ step, memory }: Entry): void {
  if (step.kind === "command" && step.undo !== undefined) runProgram(step.undo, step.undoInput);
  if (step.kind === "bridge-port" && readLink(step.name)?.master === step.bridge) {
    runProgram(["ip", "link", "set", step.name, "nomaster"]);
  }
  if (step.kind === "link-up" && memory?.kind === "present" && !memory.present) {
    runProgram(["ip", "link", "set", step.name, "down"]);
  }
  if (step.kind === "move-link") bringBack(step, memory);
  if (step.kind === "hold-table" && memory?.kind === "present" && !memory.present) removeTable(step.family);
  if (step.kind === "sysctl" && memory?.kind === "settings") restore(step, memory);
}

/** A namespace that went away with its mount has given a machine's own interfaces back, and taken virtual ones along. */
function bringBack({ name, namespace }: Step & { kind: "move-link" }, memory: Memory | undefined): void {
  if (readLink(name) === undefined) {
    runProgram(["ip", "-n", namespace, "link", "set", name, "netns", `${process.pid}`]);
  }
  if (memory?.kind === "present" && memory.present) runProgram(["ip", "link", "set", name, "up"]);
}

/** The switch of all interfaces comes first: it changes the others, which then get their own values back. */
function restore(step: Step & { kind: "sysctl" }, { before, after }: Memory & { kind: "settings" }): void {
  const keys = [step.key, ...Object.keys(before).filter((key) => key !== step.key)];
  // A crash may have come between the change and the memory of what it did: then the value that was to be set tells.
  const ours = (key: string) => after[key] ?? (key === step.key ? step.value : undefined);
  const [first] = keys;
  if (first === undefined || before[first] === undefined || before[first] === ours(first)) return;
  if (readSysctl(first) !== ours(first)) return;
  for (const key of keys) {
    const value = before[key];
    const current = readSysctl(key);
    if (value !== undefined && current !== undefined && current !== value) writeSysctl(key, value);
  }
}

interface Ruleset {
  readonly nftables: readonly {
    readonly table?: { readonly family: string; readonly name: string };
    readonly rule?: { readonly family: string; readonly table: string };
    readonly chain?: { readonly family: string; readonly table: string; readonly name: string };
  }[];
}

function hasTable(family: "ip" | "ip6"): boolean {
  const { nftables } = JSON.parse(runProgram(["nft", "-j", "list", "tables"])) as Ruleset;
  return nftables.some(({ table }) => table?.family === family && table.name === "raw");
}

/** The table "raw" goes when all that is left of it is what iptables-nft makes by itself: base chains without a rule. */
function removeTable(family: "ip" | "ip6"): void {
  if (!hasTable(family)) return;
  const { nftables } = JSON.parse(runProgram(["nft", "-j", "list", "table", family, "raw"])) as Ruleset;
  const foreign = nftables.some(({ rule, chain }) => rule !== undefined || !isBuiltIn(chain?.name ?? "PREROUTING"));
  if (!foreign) runProgram(["nft", "delete", "table", family, "raw"]);
}

function isBuiltIn(chain: string): boolean {
  return chain === "PREROUTING" || chain === "OUTPUT";
}
