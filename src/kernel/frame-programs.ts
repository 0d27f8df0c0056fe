import { ConfigError, NetworkError } from "../errors.ts";
import { attachProgram, detachProgram, programsAt } from "../linux/bpf.ts";
import { readLink } from "../linux/routes.ts";
import { steerVlan, tagVlan, untagVlan } from "../linux/vlan-programs.ts";
import type { StateBefore } from "./journal.ts";
import type { FrameProgramStep } from "./step.ts";

/** How the steps that add a program for frames are done and undone. */

const PROGRAMS = { steer: steerVlan, untag: untagVlan, tag: tagVlan } as const;

/** The programs that are at the step's hook. Throws ConfigError. */
export function programsOf({ name, hook }: Pick<FrameProgramStep, "name" | "hook">): readonly number[] {
  const index = readLink(name)?.index;
  return index === undefined ? [] : reported(() => programsAt(index, hook));
}

export function addProgram(step: FrameProgramStep, memory: StateBefore | undefined): StateBefore {
  const { name, hook, program, tags, to } = step;
  const [index, target] = [name, to].map((one) => {
    const link = readLink(one);
    if (link) return link.index;
    throw new ConfigError("listeners", `Cannot carry VLAN ${tags.id} over ${name}: there is no interface ${one}`);
  }) as [number, number];
  const own = reported(() => attachProgram(index, hook, `clearline_${program}`, PROGRAMS[program](tags, target)));
  return { kind: "programs", before: memory?.kind === "programs" ? memory.before : [], own };
}

export function hasProgram(step: FrameProgramStep, memory: StateBefore | undefined): boolean {
  return memory?.kind === "programs" && memory.own !== undefined && programsOf(step).includes(memory.own);
}

/** A crash between the change and its record in the journal: then it is the one that was not there before. */
export function removeProgram(step: FrameProgramStep, memory: StateBefore | undefined): void {
  const index = readLink(step.name)?.index;
  if (index === undefined || memory?.kind !== "programs") return;
  const own = memory.own ?? programsOf(step).find((number) => !memory.before.includes(number));
  if (own !== undefined) reported(() => detachProgram(index, step.hook, own));
}

export function reported<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    throw new ConfigError("listeners", `Cannot carry tags over the bridge: ${error.message}`, { cause: error });
  }
}
