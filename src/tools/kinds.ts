import { mendInlineTool } from "../kernel/tool/mending.ts";
import { probeInlineTool } from "./inline-probe.ts";
import { type InlineTool, openInlineTool } from "./inline-tool.ts";
import { openProxyTool, probeProxyTool } from "./proxy-tool.ts";
import type { ReturnsDirectory } from "./returns.ts";
import type { ProxyTool, Tool, ToolContext } from "./tool.ts";

export type ToolConfig = (InlineTool & { readonly kind: "inline" }) | (ProxyTool & { readonly kind: "proxy" });

/** Every kind of tool. A new one is one file and one row. Throws ConfigError. */
export function openTool(tool: ToolConfig, context: ToolContext): Promise<Tool> {
  switch (tool.kind) {
    case "inline":
      return openInlineTool(tool, context);
    case "proxy":
      return openProxyTool(tool, context);
  }
}

/** Sends something of the node's own through the tool, in `timeout` ms. Throws NetworkError when it does not come through. */
export function probeTool(tool: ToolConfig, timeout: number, office: ReturnsDirectory): Promise<void> {
  switch (tool.kind) {
    case "inline":
      return probeInlineTool(tool, timeout);
    case "proxy":
      return probeProxyTool(tool, timeout, office);
  }
}

/** Brings back what a tool lost that is the node's to give; answers what that was: names of interfaces. Never rejects. */
export async function mendTool(tool: ToolConfig, path: string): Promise<readonly string[]> {
  return tool.kind === "inline" ? mendInlineTool(tool, path) : [];
}
