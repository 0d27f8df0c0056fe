import { rmSync } from "node:fs";
import { ConfigError } from "../errors.ts";
import { runProgram } from "../linux/program.ts";
import { withErrorPath } from "./error-path.ts";
import {
  currentPlace,
  isRunning,
  type Journal,
  type JournalEntry,
  ownIdentity,
  readJournal,
  writeJournal,
} from "./journal.ts";
import type { Step } from "./step.ts";
import { actionsOf } from "./step-actions.ts";

/**
 * Does the steps in order. Each step is written to the journal before it is done, so that it can be undone even after a crash. If an
 * earlier run has left the same steps done, they are taken over, so that no traffic is cut; otherwise they are undone first. If a step
 * fails, the steps before it are undone. Returns one sentence for each step of the earlier run that could not be undone. Synchronous.
 * Throws ConfigError.
 */
export function applyPlan(plan: { readonly steps: readonly Step[] }, journalFile: string): readonly string[] {
  if (takeOver(plan.steps, journalFile)) return [];
  const left = undoPlan(journalFile);
  if (left.length > 0 && readJournal(journalFile) !== undefined) {
    throw new ConfigError("listeners", `Cannot take down what an earlier run set up: ${left.join("; ")}`);
  }
  const journal: Journal = { place: currentPlace(), owner: ownIdentity(), entries: [] };
  try {
    for (const step of plan.steps) {
      const { remember, perform } = actionsOf(step);
      const entry: JournalEntry = { step: journaled(step), done: false };
      const memory = remember?.(step);
      if (memory !== undefined) entry.memory = memory;
      journal.entries.push(entry);
      writeJournal(journalFile, journal);
      const changed = withErrorPath(step.path, () => perform(step, memory));
      if (changed !== undefined) entry.memory = changed;
      entry.done = true;
    }
    writeJournal(journalFile, journal);
  } catch (error) {
    forgetFailed(journal);
    // Undone from memory, because the disk may be what failed.
    closeJournal(journalFile, takeDown(journal));
    throw error;
  }
  return left;
}

/** Whether an earlier run has left exactly these steps done. Then their rules, which may have changed, are loaded again. */
function takeOver(steps: readonly Step[], journalFile: string): boolean {
  const journal = readJournal(journalFile);
  if (journal === undefined || journal.place !== currentPlace()) return false;
  refuseRunning(journal, journalFile);
  const same =
    JSON.stringify(journal.entries.map(({ step }) => effectOf(step))) === JSON.stringify(steps.map(effectOf));
  if (!same || !journal.entries.every(({ step, memory, done }) => done && actionsOf(step).isDone(step, memory)))
    return false;
  writeJournal(journalFile, { ...journal, owner: ownIdentity() });
  for (const step of steps) if (step.kind === "command" && step.input !== undefined) runProgram(step.run, step.input);
  return true;
}

/** A step without its reason, which a newer version may word differently. */
function effectOf(step: Step): object {
  const { why: _, ...effect } = journaled(step);
  return effect;
}

/** A step as the journal keeps it. Undoing a step needs no input: a ruleset can be long. */
function journaled(step: Step): Step {
  if (step.kind === "inside") return { ...step, steps: [] };
  if (step.kind !== "command") return step;
  const { input: _, ...rest } = step;
  return rest;
}

/** A command that fails has changed nothing. If what it would have made is there, it is somebody else's and stays. */
function forgetFailed({ entries }: Journal): void {
  const last = entries.at(-1);
  if (last?.step.kind === "command" && !last.done) entries.pop();
}

/**
 * Undoes the steps in the journal, the last first, and removes the journal. Does nothing without a journal, or when it was written
 * under another boot or in another network namespace. Returns one sentence for each step that could not be undone, mostly because
 * somebody else had already removed something. The journal stays when no step could be undone, because then the right to do so is
 * missing. Synchronous. Throws ConfigError while the process that wrote the journal runs.
 */
export function undoPlan(journalFile: string): readonly string[] {
  const journal = readJournal(journalFile);
  if (journal === undefined) return [];
  refuseRunning(journal, journalFile);
  const outcome = journal.place === currentPlace() ? takeDown(journal) : { undone: 0, problems: [] };
  closeJournal(journalFile, outcome);
  return outcome.problems;
}

function refuseRunning({ owner }: Journal, journalFile: string): void {
  if (owner === undefined || owner.pid === process.pid || !isRunning(owner)) return;
  throw new ConfigError(
    "dataDir",
    `Cannot take down what ${journalFile} lists: its node still runs as process ${owner.pid}; stop it first`,
  );
}

interface Outcome {
  readonly undone: number;
  readonly problems: readonly string[];
}

function takeDown({ entries }: Journal): Outcome {
  const problems: string[] = [];
  let undone = 0;
  for (const { step, memory, done } of entries.toReversed()) {
    try {
      actionsOf(step).revert?.(step, memory);
      undone++;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // A step that a crash interrupted may not have been done at all.
      if (done) problems.push(error.message);
    }
  }
  return { undone, problems };
}

/** The journal stays when no step could be undone: a later run that has the right to do so needs it. */
function closeJournal(journalFile: string, { undone, problems }: Outcome): void {
  if (problems.length === 0 || undone > 0) rmSync(journalFile, { force: true });
}
