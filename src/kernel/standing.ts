import { ConfigError } from "../errors.ts";
import { readProgram } from "../linux/program.ts";
import { readJournal } from "./journal.ts";
import type { Step } from "./step.ts";
import { actionsOf } from "./step-actions.ts";

/** Finds out whether what the node set up in the kernel still stands: others may flush rules, delete routes and change settings. */
export interface Standing {
  /** The rules were loaded just now, and stand as planned. */
  remember(): Promise<void>;
  /** One sentence for each thing that is not as the node left it; empty: all is. Asks the kernel at most once in `every` ms. */
  deviations(): Promise<readonly string[]>;
}

/** nft writes sets and counters by their declarations only, so that packets change nothing in this text. */
const TABLES = ["inet", "bridge"] as const;
const listing = (family: (typeof TABLES)[number]) => ["nft", "-s", "-t", "list", "table", family, "clearline"] as const;

/** `steps`: those of the plan of now; undefined: nothing is planned. `every` in ms. */
export function createStanding(steps: () => readonly Step[] | undefined, every = 30_000): Standing {
  let remembered: readonly string[] | undefined;
  let found: { readonly at: number; readonly deviations: Promise<readonly string[]> } | undefined;

  async function look(): Promise<readonly string[]> {
    const planned = steps();
    if (!planned) return [];
    const tables = await readTables();
    const rules = TABLES.flatMap((family, at) => {
      if (remembered === undefined || tables[at] === remembered[at]) return [];
      return tables[at] === ""
        ? [`the table ${family} clearline is gone`]
        : [`the table ${family} clearline was changed`];
    });
    return [...rules, ...(await filterUndone(planned))];
  }

  return {
    async remember() {
      found = undefined;
      remembered = steps() && (await readTables());
    },
    deviations() {
      if (!found || performance.now() - found.at > every) found = { at: performance.now(), deviations: look() };
      return found.deviations;
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

async function readTables(): Promise<string[]> {
  return Promise.all(TABLES.map((family) => read(listing(family))));
}

/** "" when there is no such thing. */
async function read(command: Parameters<typeof readProgram>[0]): Promise<string> {
  try {
    return await readProgram(command);
  } catch (error) {
    if (error instanceof ConfigError) return "";
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
