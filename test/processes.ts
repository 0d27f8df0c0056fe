import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** How a program ended, and what it wrote. */
export interface Outcome {
  /** The exit code; null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Program {
  readonly pid: number;
  /** Everything that it has written to stdout and stderr, in order. */
  output(): string;
  /** Resolves with the match once the output has it. Rejects when the program ends, or after `within` ms. */
  shows(pattern: RegExp, within?: number): Promise<RegExpExecArray>;
  write(text: string): void;
  ended: Promise<Outcome>;
  /** Sends a signal, SIGTERM by default, and waits for the program's end. */
  stop(signal?: NodeJS.Signals): Promise<Outcome>;
}

interface Options {
  readonly input?: string | Buffer;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** After so many ms the program is killed, and the call rejects. */
  readonly within?: number;
}

const children = new Set<ChildProcess>();
process.on("exit", killChildren);

/** Kills all programs at once, before the caller removes the network in which they run. */
export function killChildren(): void {
  for (const child of children) child.kill("SIGKILL");
}

/** Runs a program to its end. An exit code other than 0 does not reject. */
export async function run(command: string, args: readonly string[], options: Options = {}): Promise<Outcome> {
  const program = start(command, args, options);
  const within = options.within ?? 60_000;
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    void program.stop("SIGKILL"); // `ended` is awaited below
  }, within);
  const outcome = await program.ended;
  clearTimeout(timer);
  if (late) throw new Error(`${command} ${args.join(" ")} ran for more than ${within} ms:\n${program.output()}`);
  return outcome;
}

/** Runs a program and resolves with its stdout. Rejects when the exit code is not 0. */
export async function must(command: string, args: readonly string[], options: Options = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}

/** Starts a long-running program, which is killed at the latest when this process exits. */
export function start(command: string, args: readonly string[], options: Options = {}): Program {
  const child = spawn(command, args, {
    stdio: ["pipe", "pipe", "pipe"],
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  children.add(child);
  const output = collectOutput(child);
  // A program may end before it has read its input.
  child.stdin.on("error", () => undefined);
  if (options.input !== undefined) child.stdin.end(options.input);

  const ended = new Promise<Outcome>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      children.delete(child);
      resolve({ code, stdout: output.stdout.join(""), stderr: output.stderr.join("") });
      output.changed();
    });
  });
  ended.catch(() => undefined);

  const name = `${command} ${args.join(" ")}`;
  return {
    pid: child.pid ?? -1,
    output: () => output.both.join(""),
    shows: (pattern, within = 30_000) =>
      new Promise((resolve, reject) => {
        const finish = (act: () => void) => {
          clearTimeout(timer);
          output.watchers.delete(look);
          act();
        };
        const fail = (what: string) => finish(() => reject(new Error(`${name} ${what}:\n${output.both.join("")}`)));
        const look = () => {
          const match = pattern.exec(output.both.join(""));
          if (match !== null) finish(() => resolve(match));
          else if (!children.has(child)) fail(`ended without ${pattern}`);
        };
        const timer = setTimeout(() => fail(`did not show ${pattern} in ${within} ms`), within);
        output.watchers.add(look);
        look();
      }),
    write: (text) => void child.stdin.write(text),
    ended,
    async stop(signal = "SIGTERM") {
      child.kill(signal);
      return ended;
    },
  };
}

function collectOutput({ stdout, stderr }: ChildProcessWithoutNullStreams) {
  const watchers = new Set<() => void>();
  const output = {
    stdout: [] as string[],
    stderr: [] as string[],
    both: [] as string[],
    watchers,
    changed() {
      for (const look of watchers) look();
    },
  };
  for (const [stream, sink] of [[stdout, output.stdout] as const, [stderr, output.stderr] as const]) {
    stream.setEncoding("latin1").on("data", (text: string) => {
      sink.push(text);
      output.both.push(text);
      output.changed();
    });
  }
  return output;
}

/** Resolves with the condition's first answer that is not undefined, null or false. Rejects after `within` ms, naming `what`. */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  within = 60_000,
): Promise<Exclude<T, undefined | false | null>> {
  const end = Date.now() + within;
  for (let wait = 1; ; wait = Math.min(2 * wait, 50)) {
    const answer = await condition();
    if (answer !== undefined && answer !== false && answer !== null)
      return answer as Exclude<T, undefined | false | null>;
    if (Date.now() > end) throw new Error(`Waited ${within} ms, but this did not happen: ${what}`);
    await pause(wait);
  }
}

/** A delay that is part of what a test does to the node. To wait for something, use `until`. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Below the range from which the kernel takes ephemeral ports. */
const PORTS = { first: 10_000, blocks: 440, size: 50 } as const;
let next = 0;
let end = 0;

/**
 * A free TCP port that no other test gets, in this process or in another one: a program may take seconds until it listens on it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    if (next === end) {
      next = PORTS.first + (await leaseBlock()) * PORTS.size;
      end = next + PORTS.size;
    }
    const port = next++;
    const probe = await listenAt({ port, host: "127.0.0.1" });
    if (probe === undefined) continue;
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }
}

/** Leases a block of ports by an abstract socket name, which the kernel releases when this process ends. */
async function leaseBlock(): Promise<number> {
  for (;;) {
    const block = Math.floor(Math.random() * PORTS.blocks);
    const lease = await listenAt({ path: `\0clearline-test-ports-${block}` });
    if (lease === undefined) continue;
    lease.unref();
    return block;
  }
}

async function listenAt(place: net.ListenOptions): Promise<net.Server | undefined> {
  const server = net.createServer();
  const listening = once(server, "listening").then(
    () => server,
    () => undefined,
  );
  server.listen(place);
  return listening;
}

/** Resolves once something accepts connections at this port. */
export async function accepts(port: number, host = "127.0.0.1"): Promise<void> {
  await until(`a listener on ${host}:${port}`, async () => {
    const socket = net.connect(port, host);
    const open = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    return open;
  });
}

const folders: string[] = [];
process.on("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Makes a folder, which is removed when this process exits. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "clearline-test-"));
  // A node that root starts has workers of another user, whose captures are below.
  chmodSync(folder, 0o711);
  folders.push(folder);
  return folder;
}
