import { ConfigError } from "../errors.ts";
import { attachProgram, detachProgram, type Hook, withMap } from "../linux/bpf.ts";
import { readLink } from "../linux/routes.ts";
import { noteTags, restoreTags, TAG_MAP } from "../linux/tag-memory.ts";
import { programsOf, reported } from "./frame-programs.ts";
import type { StateBefore } from "./journal.ts";
import type { TagMemoryStep } from "./step.ts";

/** How the step that keeps the priorities of tags is done and undone. */

interface Place {
  readonly name: string;
  readonly hook: Hook;
}

/** Where the step's programs are, in their order. */
export function hooksOf({ names }: TagMemoryStep): readonly Place[] {
  return names.flatMap((name) => [
    { name, hook: "ingress" },
    { name, hook: "egress" },
  ]);
}

export function addTagMemory(step: TagMemoryStep, memory: StateBefore | undefined): StateBefore {
  const before = memory?.kind === "program-set" ? memory.before : [];
  const own: number[] = [];
  try {
    reported(() =>
      withMap(TAG_MAP, (map) => {
        for (const { name, hook } of hooksOf(step)) {
          const program = hook === "ingress" ? noteTags(step.tags, map) : restoreTags(step.tags, map);
          own.push(attachProgram(indexOf(name), hook, "clearline_tags", program));
        }
      }),
    );
  } catch (error) {
    removeTagMemory(step, { kind: "program-set", before, own });
    throw error;
  }
  return { kind: "program-set", before, own };
}

export function hasTagMemory(step: TagMemoryStep, memory: StateBefore | undefined): boolean {
  const own = memory?.kind === "program-set" ? memory.own : undefined;
  const hooks = hooksOf(step);
  return own?.length === hooks.length && hooks.every((hook, at) => programsOf(hook).includes(own[at]!));
}

/** A crash between the change and its record in the journal: then they are those that were not there before. */
export function removeTagMemory(step: TagMemoryStep, memory: StateBefore | undefined): void {
  if (memory?.kind !== "program-set") return;
  const { before, own } = memory;
  for (const [at, { name, hook }] of hooksOf(step).entries()) {
    const index = readLink(name)?.index;
    const number = own ? own[at] : programsOf({ name, hook }).find((one) => !before[at]?.includes(one));
    if (index !== undefined && number !== undefined) reported(() => detachProgram(index, hook, number));
  }
}

function indexOf(name: string): number {
  const link = readLink(name);
  if (link) return link.index;
  throw new ConfigError("listeners", `Cannot keep the tags of connections: there is no interface ${name}`);
}
