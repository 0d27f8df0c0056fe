import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HERE, type Host } from "./hosts.ts";
import type { Origin } from "./origin.ts";
import { freePort, listening, type Program, start, WORKSHOP } from "./processes.ts";

/** Rules that match nothing in the bench: sessions are judged, as in a real node. */
const RULES = [
  { name: "banks", match: { host: ["*.bank.example", "bank.example"] }, action: "bypass" },
  { name: "printers", match: { client: "198.51.100.0/24" }, action: "drop" },
];

/** Of Node, as in packaging/clearline.service. */
const OPTIONS = ["--disable-sigusr1", "--max-semi-space-size=4", "--no-parallel-scavenge"];

/** Starts this checkout's node with default settings, except for the bench's needs. Resolves once it is ready. */
export async function startClearline(
  { authority }: Origin,
  listener: Readonly<Record<string, unknown>>,
  more: Readonly<Record<string, unknown>> = {},
  host: Host = HERE,
): Promise<Program> {
  const console = await freePort();
  const file = join(WORKSHOP, `clearline-${console}.yaml`);
  const configuration = {
    dataDir: `${WORKSHOP}/clearline-${console}`,
    console: { address: `127.0.0.1:${console}` },
    trust: { system: false, files: [authority.certificate] },
    log: { level: "warn" },
    limits: { sessions: 50_000 },
    // Every session is to be decrypted, however many there are.
    overload: { eventLoopDelay: "off", sessions: "off" },
    policy: { rules: RULES },
    listeners: [{ name: "bench", ...listener }],
    ...more,
  };
  writeFileSync(file, JSON.stringify(configuration)); // YAML is a superset of JSON
  const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
  const program = start(`clearline ${console}`, process.execPath, [...OPTIONS, main, "run", "-c", file], host);
  await listening(program, console, "127.0.0.1"); // the node opens it last, when its workers are ready
  return program;
}
