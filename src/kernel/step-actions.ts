import { ConfigError, NetworkError } from "../errors.ts";
import { within } from "../linux/netns.ts";
import { type Command, runProgram } from "../linux/program.ts";
import { readLink } from "../linux/routes.ts";
import { readSysctl, readSysctls, writeSysctl } from "../linux/sysctls.ts";
import { withErrorPath } from "./error-path.ts";
import { addProgram, hasProgram, programsOf, removeProgram } from "./frame-programs.ts";
import type { StateBefore } from "./journal.ts";
import type { Step } from "./step.ts";
import { addTagMemory, hasTagMemory, hooksOf, removeTagMemory } from "./tag-memory-programs.ts";

/** How steps of one kind are done, undone and recognised. Throws ConfigError. */
interface StepActions<S> {
  /** Reads the state that undoing the step will need. Absent: it needs none. */
  remember?(step: S): StateBefore;
  /** Does the step. Returns the remembered state when the step has added to it. */
  perform(step: S, before: StateBefore | undefined): StateBefore | undefined;
  /** Undoes the step. Absent: undoing an earlier step undoes this one too. */
  revert?(step: S, before: StateBefore | undefined): void;
  /** Whether the kernel's state is as the step leaves it. Rules need not be there: a start loads them again. */
  isDone(step: S, before: StateBefore | undefined): boolean;
}

type Of<Kind extends Step["kind"]> = Extract<Step, { kind: Kind }>;

/** A new kind of step is one row, and its type in step.ts. */
const ACTIONS: { readonly [Kind in Step["kind"]]: StepActions<Of<Kind>> } = {
  command: {
    perform(step) {
      runProgram(step.run, step.input);
      return undefined;
    },
    revert(step) {
      if (step.undo !== undefined) runProgram(step.undo, step.undoInput);
    },
    isDone: (step) => step.undoInput !== undefined || printsSomething(step.check),
  },
  sysctl: {
    remember: (step) => ({ kind: "settings", before: readSettings(step), after: {} }),
    perform: set,
    revert(step, before) {
      if (before?.kind === "settings") restore(step, before);
    },
    isDone(step) {
      const value = readSysctl(step.key);
      return value === step.value || (value === undefined && step.optional === true);
    },
  },
  "link-up": {
    remember: ({ name }) => ({ kind: "present", present: isUp(name) }),
    perform({ name }) {
      setLink(name, "up");
      return undefined;
    },
    revert({ name }, before) {
      if (!wasPresent(before, true)) setLink(name, "down");
    },
    isDone: ({ name }) => isUp(name),
  },
  "bridge-port": {
    perform(step) {
      makePort(step);
      return undefined;
    },
    revert({ name, bridge }) {
      if (readLink(name)?.master === bridge) setLink(name, "nomaster");
    },
    isDone: ({ name, bridge }) => readLink(name)?.master === bridge,
  },
  "hold-table": {
    remember: ({ family }) => ({ kind: "present", present: hasRawTable(family) }),
    // The iptables-nft steps behind this one make the table.
    perform: () => undefined,
    revert({ family }, before) {
      if (!wasPresent(before, true)) removeRawTable(family);
    },
    isDone: ({ family }) => hasRawTable(family),
  },
  "frame-program": {
    remember: (step) => ({ kind: "programs", before: programsOf(step) }),
    perform: addProgram,
    revert: removeProgram,
    isDone: hasProgram,
  },
  "tag-memory": {
    remember: (step) => ({ kind: "program-set", before: hooksOf(step).map(programsOf) }),
    perform: addTagMemory,
    revert: removeTagMemory,
    isDone: hasTagMemory,
  },
  "move-link": {
    remember: ({ name }) => ({ kind: "present", present: isUp(name) }),
    perform({ name, namespace }) {
      setLink(name, "netns", namespace);
      return undefined;
    },
    revert: bringBack,
    isDone: isNeverTakenOver,
  },
  inside: {
    perform(step) {
      performInside(step);
      return undefined;
    },
    isDone: isNeverTakenOver,
  },
};

export function actionsOf(step: Step): StepActions<Step> {
  return ACTIONS[step.kind] as StepActions<Step>;
}

/** A start makes a tool's namespace again: only the sessions of the node went through it, and they ended with the node. */
function isNeverTakenOver(): boolean {
  return false;
}

/** A journal that a crash left without the state before the step: `otherwise`. */
function wasPresent(before: StateBefore | undefined, otherwise: boolean): boolean {
  return before?.kind === "present" ? before.present : otherwise;
}

function isUp(name: string): boolean {
  return readLink(name)?.up === true;
}

function setLink(name: string, ...words: string[]): void {
  runProgram(["ip", "link", "set", name, ...words]);
}

function printsSomething(check: Command | undefined): boolean {
  if (check === undefined) return false;
  try {
    return runProgram(check).trim() !== "";
  } catch (error) {
    if (error instanceof ConfigError) return false;
    throw error;
  }
}

function set(step: Of<"sysctl">, before: StateBefore | undefined): StateBefore | undefined {
  if (before?.kind !== "settings") return undefined;
  const current = before.before[step.key];
  if (current === undefined && step.optional !== true) {
    throw new ConfigError(
      "listeners",
      `Cannot set ${step.key}: there is no such network interface, or this kernel has no such setting`,
    );
  }
  if (current === undefined || current === step.value) return undefined;
  writeSysctl(step.key, step.value);
  return { ...before, after: readSettings(step) };
}

/** The setting and those that change along with it, with their values. */
function readSettings(step: Of<"sysctl">): Record<string, string> {
  const value = readSysctl(step.key);
  const along = step.alongside === undefined ? [] : readSysctls(step.alongside);
  return { ...Object.fromEntries(along), ...(value !== undefined && { [step.key]: value }) };
}

/** Restores a setting, unless somebody else has changed it since. First the setting itself, because it changes the others. */
function restore(step: Of<"sysctl">, { before, after }: Extract<StateBefore, { kind: "settings" }>): void {
  const { key } = step;
  // A crash between the change and its record in the journal: then the step's own value is the one that was set.
  const ours = after[key] ?? step.value;
  if (before[key] === undefined || before[key] === ours || readSysctl(key) !== ours) return;
  const others = Object.keys(before).filter((other) => other !== key);
  for (const one of [key, ...others]) {
    const value = before[one];
    const current = readSysctl(one);
    if (value !== undefined && current !== undefined && current !== value) writeSysctl(one, value);
  }
}

/** `ip` would take the interface away from another bridge or bond without an error. */
function makePort({ name, bridge }: Of<"bridge-port">): void {
  const master = readLink(name)?.master;
  if (master !== undefined) {
    throw new ConfigError("listeners", `Cannot make ${name} a port of the bridge ${bridge}: it belongs to ${master}`);
  }
  setLink(name, "master", bridge);
}

/** If the namespace has gone already, the kernel has returned physical interfaces by itself and deleted virtual ones. */
function bringBack({ name, namespace }: Of<"move-link">, before: StateBefore | undefined): void {
  if (readLink(name) === undefined) {
    runProgram(["ip", "-n", namespace, "link", "set", name, "netns", `${process.pid}`]);
  }
  if (wasPresent(before, false)) setLink(name, "up");
}

function performInside({ namespace, steps }: Of<"inside">): void {
  const perform = () => {
    for (const step of steps) {
      withErrorPath(step.path, () => {
        if (step.kind === "command") runProgram(step.run, step.input);
        else writeSysctl(step.key, step.value);
      });
    }
  };
  try {
    within(namespace, perform);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    throw new ConfigError("listeners", error.message, { cause: error });
  }
}

interface Ruleset {
  readonly nftables: readonly {
    readonly table?: { readonly family: string; readonly name: string };
    readonly rule?: { readonly family: string; readonly table: string };
    readonly chain?: { readonly family: string; readonly table: string; readonly name: string };
  }[];
}

function hasRawTable(family: "ip" | "ip6"): boolean {
  const { nftables } = JSON.parse(runProgram(["nft", "-j", "list", "tables"])) as Ruleset;
  return nftables.some(({ table }) => table?.family === family && table.name === "raw");
}

/** Removes the table when it holds only the base chains that iptables-nft makes by itself, without a rule. */
function removeRawTable(family: "ip" | "ip6"): void {
  if (!hasRawTable(family)) return;
  const { nftables } = JSON.parse(runProgram(["nft", "-j", "list", "table", family, "raw"])) as Ruleset;
  const foreign = nftables.some(({ rule, chain }) => rule !== undefined || !isBaseChain(chain?.name ?? "PREROUTING"));
  if (!foreign) runProgram(["nft", "delete", "table", family, "raw"]);
}

function isBaseChain(chain: string): boolean {
  return chain === "PREROUTING" || chain === "OUTPUT";
}
