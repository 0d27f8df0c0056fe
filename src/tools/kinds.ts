import type { Loop } from "../engine/loop.ts";
import { mendInlineTool } from "../kernel/tool/mending.ts";
import { probeInlineTool } from "./inline-probe.ts";
import { type InlineTool, openInlineTool } from "./inline-tool.ts";
import { connectToProxyTool, probeProxyTool } from "./proxy-probe.ts";
import { openProxyTool } from "./proxy-tool.ts";
import type { ReturnsDirectory } from "./returns.ts";
import type { ProxyTool, Tool, ToolContext } from "./tool.ts";

export type ToolConfig =
  | (InlineTool & { readonly kind: "inline" })
  | (ProxyTool & { readonly kind: "proxy"; readonly heartbeat: { readonly probe: "session" | "connect" } });

/** Opens a tool of any kind. A new kind is one file and one row. Throws ConfigError. */
export function openTool(tool: ToolConfig, context: ToolContext): Promise<Tool> {
  switch (tool.kind) {
    case "inline":
      return openInlineTool(tool, context);
    case "proxy":
      return openProxyTool(tool, context);
  }
}

/** Sends a heartbeat through the tool. Throws NetworkError when it has not come through in `timeout` ms. */
export function probeTool(
  tool: ToolConfig,
  { loop, returns, timeout }: { readonly loop: Loop; readonly returns: ReturnsDirectory; readonly timeout: number },
): Promise<void> {
  switch (tool.kind) {
    case "inline":
      return probeInlineTool(loop, tool, timeout);
    case "proxy":
      return (tool.heartbeat.probe === "connect" ? connectToProxyTool : probeProxyTool)(loop, tool, timeout, returns);
  }
}

/** Restores the node's own settings for the tool. Returns the names of the interfaces whose settings were lost. Never rejects. */
export async function mendTool(tool: ToolConfig, path: string): Promise<readonly string[]> {
  return tool.kind === "inline" ? mendInlineTool(tool, path) : [];
}
