import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startClearline } from "./clearline.ts";
import { carryingHaproxy } from "./haproxy.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, type Program, start, WORKSHOP } from "./processes.ts";

/** Starts a node in front of the origin, with HAProxy as a tool that changes nothing. HAProxy's CPU time does not count. */
export async function startWithProxyTool(origin: Origin, port: number, target: number): Promise<Program> {
  const [there, back] = [await freePort(), await freePort()];
  const file = join(WORKSHOP, `haproxy-${there}.cfg`);
  writeFileSync(file, carryingHaproxy(there, back));
  const haproxy = start(`haproxy ${there}`, "haproxy", ["-db", "-f", file]);
  await listening(haproxy, there);
  const tool = {
    name: "haproxy",
    kind: "proxy",
    address: `127.0.0.1:${there}`,
    returnAddress: `127.0.0.1:${back}`,
  };
  const listener = { mode: "forward", address: `127.0.0.1:${port}`, server: `127.0.0.1:${target}` };
  return startClearline(origin, listener, { tools: [tool] });
}
