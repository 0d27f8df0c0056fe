import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dial, HERE, type Host } from "./hosts.ts";

/** A program that the bench started, with its children. */
export interface Program {
  readonly name: string;
  readonly host: Host;
  readonly child: ChildProcess;
  /** The file with its output. */
  readonly log: string;
}

export interface Usage {
  /** User and system time, in seconds. */
  readonly cpu: number;
  /** Proportional set size, in bytes: memory that processes share is counted once. */
  readonly memory: number;
}

/** The folder of the bench's files, which is removed at its end. */
export const WORKSHOP = mkdtempSync(join(tmpdir(), "clearline-bench-"));
// Clearline's workers and squid are other users, which reach their own folders in it.
chmodSync(WORKSHOP, 0o711);
process.once("exit", () => {
  for (const child of running) for (const pid of processTree(child.pid)) signal(pid, "SIGKILL");
  rmSync(WORKSHOP, { recursive: true, force: true });
});

const running = new Set<ChildProcess>();

/** Tens of thousands of sessions need more descriptors than many systems allow. Only root may raise the hard limit. */
const WITH_DESCRIPTORS =
  '(ulimit -Hn 131072) 2>/dev/null && ulimit -Hn 131072; ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"';

/** How many descriptors a program of the bench may have. */
export function descriptors(): number {
  const output = execFileSync("sh", ["-c", WITH_DESCRIPTORS, "sh", "-c", "ulimit -n"], { encoding: "utf8" });
  return output.trim() === "unlimited" ? Number.POSITIVE_INFINITY : Number(output);
}

/** Makes programs with OpenSSL offer and accept one group alone, as the bench's clients do. Node's programs ignore it. */
const OPENSSL = join(WORKSHOP, "openssl.cnf");
const SECTIONS = "openssl_conf = bench\n[bench]\nssl_conf = ssl\n[ssl]\nsystem_default = defaults\n";
writeFileSync(OPENSSL, `${SECTIONS}[defaults]\nGroups = P-256\n`);
const ENVIRONMENT = { ...process.env, OPENSSL_CONF: OPENSSL };

/** Makes signals end the bench with its exit handlers, so that nothing it started is left. */
export function exitOnSignals(): void {
  for (const [name, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.once(name, () => process.exit(code));
  }
}

/** Starts a program, which runs until `stop`. */
export function start(name: string, command: string, args: readonly string[], host: Host = HERE): Program {
  const log = join(WORKSHOP, `${name.replaceAll(/\W/g, "-")}.log`);
  const output = openSync(log, "a");
  const [program, ...rest] = commandIn(host, ["sh", "-c", WITH_DESCRIPTORS, command, ...args]);
  const child = spawn(program, rest, { cwd: WORKSHOP, env: ENVIRONMENT, stdio: ["ignore", output, output] });
  closeSync(output);
  running.add(child);
  return { name, host, child, log };
}

/** Runs a program to its end. Resolves with its output, whatever its exit code. */
export async function run(command: string, args: readonly string[], host: Host = HERE): Promise<string> {
  const [program, ...rest] = commandIn(host, [command, ...args]);
  const child = spawn(program, rest, { cwd: WORKSHOP, env: ENVIRONMENT, stdio: ["ignore", "pipe", "ignore"] });
  running.add(child);
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(child, "close");
  running.delete(child);
  return Buffer.concat(chunks).toString();
}

/** The same, with as many descriptors as there may be. */
export function runWithDescriptors(command: string, args: readonly string[]): Promise<string> {
  return run("sh", ["-c", WITH_DESCRIPTORS, command, ...args]);
}

/** The command line that runs a program in a host. `ip` executes it, so the pid is the program's own. */
function commandIn({ namespace }: Host, command: readonly [string, ...string[]]): readonly [string, ...string[]] {
  return namespace === undefined ? command : ["ip", "netns", "exec", namespace, ...command];
}

/** Resolves once the program accepts connections. Throws with the end of its output if it ends, or does not listen in time. */
export async function listening(program: Program, port: number, address = program.host.address): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await accepts(program.host, address, port))) {
    const ended =
      program.child.exitCode !== null || program.child.signalCode !== null || program.child.pid === undefined;
    if (ended || performance.now() > deadline) {
      const words = readFileSync(program.log, "utf8").trim().split("\n").slice(-5).join("\n  ");
      throw new Error(`Cannot start ${program.name}: it does not listen on port ${port}\n  ${words}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Ends the program and all its children. */
export async function stop(program: Program): Promise<void> {
  const { child } = program;
  const tree = processTree(child.pid);
  const gone = child.exitCode !== null || child.signalCode !== null || child.pid === undefined;
  const ended = gone ? undefined : new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), 5000);
  await ended;
  clearTimeout(late);
  for (const pid of tree) signal(pid, "SIGKILL");
  running.delete(child);
}

/** The CPU time that the program and its children have used, and their memory now. */
export function usage(program: Program): Usage {
  let ticks = 0;
  let memory = 0;
  for (const pid of processTree(program.child.pid)) {
    const fields = statOf(pid);
    ticks += Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0);
    const rollup = readOrNothing(`/proc/${pid}/smaps_rollup`);
    memory += Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
  }
  return { cpu: ticks / 100, memory }; // USER_HZ is 100 on every Linux that Node runs on
}

/** A port that nobody listens on, below those that the kernel gives to clients: no connection takes it meanwhile. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const server = net.createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

function accepts(host: Host, address: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial(host, address, port);
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

/** The process and its living descendants. */
export function processTree(root: number | undefined): number[] {
  if (root === undefined) return [];
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    const parent = /^\d+$/.test(entry) ? Number(statOf(Number(entry))?.[1]) : Number.NaN;
    if (!Number.isNaN(parent)) children.set(parent, [...(children.get(parent) ?? []), Number(entry)]);
  }
  const tree = [root];
  for (let index = 0; index < tree.length; index++) tree.push(...(children.get(tree[index]!) ?? []));
  return tree;
}

/** The fields of /proc/PID/stat behind the name (which may contain spaces): state, parent, … */
function statOf(pid: number): string[] | undefined {
  const stat = readOrNothing(`/proc/${pid}/stat`);
  return stat === "" ? undefined : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // the process has ended
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // it has already ended
  }
}
