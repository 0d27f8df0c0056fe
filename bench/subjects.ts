import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Origin } from "./origin.ts";
import { freePort, listening, type Program, start, WORKSHOP } from "./processes.ts";

/** Where clients go: straight to the port, or by CONNECT through it. */
export interface Way {
  readonly url: string;
  readonly proxy: number | undefined;
  readonly port: number;
}

export interface Subject {
  readonly name: SubjectName;
  readonly way: Way;
  /** The program whose CPU time and memory count. */
  readonly program: Program;
}

export const SUBJECTS = ["direct", "clearline", "mitmproxy", "clearline forward", "sslsplit"] as const;
export type SubjectName = (typeof SUBJECTS)[number];

/** Like with like: CONNECT proxies, and fixed port forwards. */
export const PAIRS = [
  { ours: "clearline", theirs: "mitmproxy" },
  { ours: "clearline forward", theirs: "sslsplit" },
] as const satisfies readonly { ours: SubjectName; theirs: SubjectName }[];

/** The program of Debian's package that a subject needs. */
const NEEDS: Partial<Record<SubjectName, { program: string; package: string }>> = {
  mitmproxy: { program: "mitmdump", package: "mitmproxy" },
  sslsplit: { program: "sslsplit", package: "sslsplit" },
};

/** The package that is missing for this subject, if one is. */
export function missing(name: SubjectName): string | undefined {
  const need = NEEDS[name];
  return need && spawnSync(need.program, ["--version"], { stdio: "ignore" }).error ? need.package : undefined;
}

/** Starts a subject in front of the origin, and answers when clients can come. */
export async function startSubject(name: SubjectName, origin: Origin): Promise<Subject> {
  if (name === "direct") return { name, way: straight(origin.port), program: origin.program };
  const port = await freePort();
  const program = await STARTS[name](origin, port);
  await listening(program, port);
  const way =
    name === "clearline" || name === "mitmproxy"
      ? { url: `https://localhost:${origin.port}`, proxy: port, port }
      : straight(port);
  return { name, way, program };
}

const STARTS: Record<Exclude<SubjectName, "direct">, (origin: Origin, port: number) => Promise<Program> | Program> = {
  clearline: (origin, port) => startClearline(origin, `{ name: bench, mode: explicit, address: "127.0.0.1:${port}" }`),
  "clearline forward": (origin, port) =>
    startClearline(
      origin,
      `{ name: bench, mode: forward, address: "127.0.0.1:${port}", server: "127.0.0.1:${origin.port}" }`,
    ),
  mitmproxy({ authority }, port) {
    const directory = join(WORKSHOP, `mitmproxy-${port}`);
    mkdirSync(directory);
    writeFileSync(
      join(directory, "mitmproxy-ca.pem"),
      Buffer.concat([readFileSync(authority.key), readFileSync(authority.certificate)]),
    );
    // Its default keeps whole bodies in memory; streaming them is what the others do.
    const settings = ["ssl_insecure=true", `confdir=${directory}`, "stream_large_bodies=64k", "flow_detail=0"];
    return start("mitmproxy", "mitmdump", [
      "-q",
      "--listen-host",
      "127.0.0.1",
      "-p",
      `${port}`,
      ...settings.flatMap((setting) => ["--set", setting]),
    ]);
  },
  sslsplit({ authority, port: target }, port) {
    const leaf = join(WORKSHOP, "localhost.key"); // the key of its leaf certificates: P-256, as everybody's
    const user = process.getuid?.() === 0 ? ["-u", "root"] : [];
    const spec = ["ssl", "127.0.0.1", `${port}`, "127.0.0.1", `${target}`];
    return start("sslsplit", "sslsplit", [
      ...user,
      "-k",
      authority.key,
      "-c",
      authority.certificate,
      "-K",
      leaf,
      "-P",
      ...spec,
    ]);
  },
};

/** This checkout's node, with the defaults of its configuration but for what a bench needs. */
async function startClearline(origin: Origin, listener: string): Promise<Program> {
  const console = await freePort();
  const file = join(WORKSHOP, `clearline-${console}.yaml`);
  writeFileSync(
    file,
    `dataDir: ${WORKSHOP}/clearline-${console}
console: { address: "127.0.0.1:${console}" }
trust: { system: false, files: [${origin.authority.certificate}] }
log: { level: warn }
listeners:
  - ${listener}
`,
  );
  const main = fileURLToPath(new URL("../src/cli/main.ts", import.meta.url));
  return start("clearline", process.execPath, [main, "run", "-c", file]);
}

function straight(port: number): Way {
  return { url: `https://localhost:${port}`, proxy: undefined, port };
}
