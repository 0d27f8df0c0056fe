import { InvariantError } from "../errors.ts";
import type { ToolContext } from "./kinds.ts";
import type { PortMap } from "./ports.ts";
import type { Tool, ToolPlace } from "./tool.ts";

/** A tool between two interfaces. */
export interface InlineTool extends ToolPlace {
  readonly interfaceA: string;
  readonly interfaceB: string;
  readonly ports: PortMap;
}

export function openInlineTool({ name }: InlineTool, { path }: ToolContext): Promise<Tool> {
  throw new InvariantError(`Cannot open the tool ${name} (${path})`);
}

export function probeInlineTool({ name }: InlineTool, timeout: number): Promise<void> {
  throw new InvariantError(`Cannot probe the tool ${name} in ${timeout} ms`);
}
