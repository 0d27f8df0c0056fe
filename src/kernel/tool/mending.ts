import { existsSync } from "node:fs";
import { ConfigError, NetworkError } from "../../errors.ts";
import { within } from "../../linux/netns.ts";
import { type Command, readProgram } from "../../linux/program.ts";
import { linksOf } from "../../linux/routes.ts";
import { namespaceOf, type ToolInterfaces } from "./numbers.ts";
import { type PlacedTool, SIDES, type Side, sideRoutes, TABLE } from "./plan.ts";

/**
 * Restores the routes of a tool's interface that was set down and up again, which deleted them. Returns the names of the interfaces
 * whose routes were restored. Never rejects: the next failed heartbeat tries again.
 */
export async function mendInlineTool(tool: ToolInterfaces, path: string): Promise<readonly string[]> {
  const run = inNamespace(namespaceOf(tool));
  const ipv6 = existsSync("/proc/sys/net/ipv6");
  try {
    const links = linksOf(await run(["ip", "-j", "address", "show"]));
    const [a, b] = [tool.interfaceA, tool.interfaceB].map((name) => links.find((link) => link.name === name));
    // An interface that has gone comes back in another namespace. Only a start moves it here again.
    if (a === undefined || b === undefined) return [];
    const placed: PlacedTool = { tool, path, links: { A: a, B: b } };
    const mended: string[] = [];
    for (const side of SIDES) {
      const { name, up } = placed.links[side];
      const commands = sideRoutes(placed, side, { ipv6 }).flatMap((step) =>
        step.kind === "command" ? [step.run] : [],
      );
      if (!up || !(await isLost(run, name, side, commands))) continue;
      for (const command of commands) await run(command);
      mended.push(name);
    }
    return mended;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof NetworkError) return [];
    throw error;
  }
}

type Run = (command: Command) => Promise<string>;

/** Runs programs in a namespace: a process stays in the namespace that it was started in. */
function inNamespace(namespace: string): Run {
  return (command) => within(namespace, () => ({ output: readProgram(command) })).output;
}

/** Whether a route that these commands add is missing. */
async function isLost(run: Run, name: string, side: Side, commands: readonly Command[]): Promise<boolean> {
  for (const [, family = "-4", what] of commands) {
    if (what !== "route") continue;
    const routes = await run(["ip", family, "route", "show", "table", `${TABLE[side]}`, "dev", name]);
    if (routes.trim() === "") return true;
  }
  return false;
}
