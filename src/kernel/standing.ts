import { ConfigError } from "../errors.ts";
import { readProgram } from "../linux/program.ts";
import { readJournal } from "./journal.ts";
import type { Step } from "./step.ts";
import { actionsOf } from "./step-actions.ts";

/** Finds out whether what the node set up in the kernel still stands: others may flush rules, delete routes and change settings. */
export interface Standing {
  /** The rules were loaded just now, and stand as planned. Never rejects: `deviations` tells that they cannot be read back. */
  remember(): Promise<void>;
  /** One sentence for each thing that is not as the node left it; empty: all is. */
  deviations(): Promise<readonly string[]>;
}

/** nft writes sets and counters by their declarations only, so that packets change nothing in this text. */
const TABLES = ["inet", "bridge"] as const;
const listing = (family: (typeof TABLES)[number]) => ["nft", "-s", "-t", "list", "table", family, "clearline"] as const;

/** ms for which an answer about the rules holds, which cost two programs, and one about the steps, which cost dozens. */
const EVERY = { rules: 2_000, steps: 30_000 };

/** `steps`: those of the plan of now; undefined: nothing is planned. `readRules`: the rules of each table. */
export function createStanding(
  steps: () => readonly Step[] | undefined,
  every = EVERY,
  readRules: () => Promise<readonly string[]> = readTables,
): Standing {
  let remembered: readonly string[] | undefined;

  /** Why the rules could not be read back after they were loaded. */
  let unread: string | undefined;

  async function readBack(): Promise<void> {
    try {
      remembered = steps() && (await readRules());
      unread = undefined;
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      remembered = undefined;
      unread = error.message;
    }
  }

  async function lookAtRules(): Promise<string[]> {
    if (unread !== undefined) await readBack();
    if (unread !== undefined) return [`the rules cannot be compared with what was loaded: ${unread}`];
    if (remembered === undefined || !steps()) return [];
    const tables = await readRules();
    return TABLES.flatMap((family, at) => {
      if (tables[at] === remembered?.[at]) return [];
      return tables[at] === ""
        ? [`the table ${family} clearline is gone`]
        : [`the table ${family} clearline was changed`];
    });
  }

  const rules = remembering(lookAtRules, every.rules);
  const others = remembering(() => filterUndone(steps() ?? []), every.steps);
  return {
    async remember() {
      await readBack();
      rules.forget();
      others.forget();
    },
    deviations: async () => [...(await rules.ask()), ...(await others.ask())],
  };
}

/** Asks again only after `every` ms. */
function remembering(look: () => Promise<string[]>, every: number) {
  let found: { readonly at: number; readonly answer: Promise<string[]> } | undefined;
  return {
    ask() {
      if (!found || performance.now() - found.at > every)
        found = { at: performance.now(), answer: look().catch(nothing) };
      return found.answer;
    },
    forget() {
      found = undefined;
    },
  };
}

/** The same of what a node that has stopped left standing, by its journal. Its rules are only looked for, not compared. */
export async function deviationsLeft(journalFile: string): Promise<string[]> {
  const steps = readJournal(journalFile)?.entries.map(({ step }) => step) ?? [];
  const [inet] = await readTables();
  const undone = await filterUndone(steps);
  return [...(steps.length > 0 && inet === "" ? ["the table inet clearline is gone"] : []), ...undone];
}

async function filterUndone(steps: readonly Step[]): Promise<string[]> {
  const undone: string[] = [];
  for (const step of steps) if (!(await stands(step))) undone.push(`this no longer stands: ${step.why}`);
  return undone;
}

/** The kernel could not be asked: the process has no descriptor left, for example. */
function nothing(error: unknown): string[] {
  if (error instanceof ConfigError) return [];
  throw error;
}

async function readTables(): Promise<string[]> {
  return Promise.all(TABLES.map((family) => read(listing(family))));
}

/** "" when there is no such thing. */
async function read(command: Parameters<typeof readProgram>[0]): Promise<string> {
  try {
    return await readProgram(command);
  } catch (error) {
    // Without a cause the program ran, and found nothing.
    if (error instanceof ConfigError && error.cause === undefined) return "";
    throw error;
  }
}

/** Rules are compared as a whole, and what is inside a tool's namespace is its heartbeat's to find. */
async function stands(step: Step): Promise<boolean> {
  switch (step.kind) {
    case "command":
      return step.check === undefined || (await read(step.check)).trim() !== "";
    case "sysctl":
    case "link-up":
    case "bridge-port":
      return actionsOf(step).isDone(step, undefined);
    default:
      return true;
  }
}
