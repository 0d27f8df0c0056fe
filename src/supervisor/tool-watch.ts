import { log } from "../log.ts";
import { type Watch, watchTools } from "../tools/heartbeat.ts";
import { mendTool, probeTool } from "../tools/kinds.ts";
import type { NodeState } from "./state.ts";

/** Sends heartbeats through the tools. Tells the workers and the log when a tool fails and when it works again. */
export function watchConfiguredTools(state: NodeState): Watch {
  const { loop, returns, webhooks, changes } = state;
  const { tools } = state.active.loaded.config;
  for (const { name } of tools) state.workers.tell({ kind: "tool", name, up: true, reason: "" });
  const watched = tools.map((tool, index) => ({
    ...tool,
    probe: (timeout: number) => probeTool(tool, { loop, returns, timeout }),
    async mend() {
      const mended = await mendTool(tool, `tools[${index}]`);
      if (mended.length > 0)
        log.warn({ tool: tool.name, interfaces: mended }, "Gave a tool's interfaces their routes back");
      return mended.length > 0;
    },
  }));
  return watchTools(watched, (name, { up, reason = "" }) => {
    state.workers.tell({ kind: "tool", name, up, reason: `The tool ${name} has failed: ${reason}` });
    changes.note("tool", name, { works: up, reason: up ? null : reason });
    const { onFailure } = tools.find((tool) => tool.name === name)!;
    if (up) {
      log.warn({ tool: name }, "A tool works again; new sessions go through it");
      webhooks.tell("tool.up", `The tool ${name} works again`, { tool: name });
      return;
    }
    log.error({ tool: name, reason, onFailure }, "A tool has failed; the sessions that passed it were ended");
    webhooks.tell("tool.down", `The tool ${name} has failed: ${reason}`, { tool: name, reason, onFailure });
  });
}
