import { InvariantError } from "../errors.ts";
import type { ToolContext } from "./kinds.ts";
import type { PortMap } from "./ports.ts";
import type { Tool, ToolPlace } from "./tool.ts";

/** A tool that is a TCP service. */
export interface ProxyTool extends ToolPlace {
  readonly address: { readonly host: string; readonly port: number };
  readonly returnAddress: { readonly host: string; readonly port: number };
  readonly header: "proxy-v2" | "sslproxy";
  readonly ports: PortMap;
}

export function openProxyTool({ name }: ProxyTool, { path }: ToolContext): Promise<Tool> {
  throw new InvariantError(`Cannot open the tool ${name} (${path})`);
}

export function probeProxyTool({ name }: ProxyTool, timeout: number): Promise<void> {
  throw new InvariantError(`Cannot probe the tool ${name} in ${timeout} ms`);
}
