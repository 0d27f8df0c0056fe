/** Starts a real node as users start it: with a configuration file, and `clearline run -c FILE`. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Session, SessionList, Stats } from "../src/control/api.ts";
import { freePort, type Outcome, type Program, run, scratch, start, until } from "./processes.ts";

export interface NodeOptions {
  /** PEM files with the trusted roots. */
  readonly trust: readonly string[];
  /** Forwarding listeners by name, each with the port of its server on 127.0.0.1. */
  readonly forwards?: Readonly<Record<string, number>>;
  /** Listeners beside the explicit proxy and the forwarding ones. */
  readonly listeners?: readonly object[];
  /** Overrides top-level keys of the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly env?: NodeJS.ProcessEnv;
  /** Puts files into the node's folder before it starts. Its data folder is `data` in there. */
  readonly prepare?: (folder: string) => void;
  /** The most open files of each process. */
  readonly openFiles?: number;
  /** A command that starts the node: the node's is its last arguments. */
  readonly within?: readonly string[];
}

export interface TestNode extends AsyncDisposable {
  readonly process: Program;
  /** The configuration file, and its folder. */
  readonly file: string;
  readonly folder: string;
  readonly captures: string;
  /** The API: http://127.0.0.1:PORT/api/v1 */
  readonly url: string;
  /** The explicit proxy's port. */
  readonly proxy: number;
  /** A forwarding listener's port. */
  forward(name: string): number;
  /** PEM files with the node's own CAs, of both key types. */
  readonly primary: string;
  readonly secondary: string;
  /** The answer of /api/v1/PATH. Rejects when the status is not 2xx. */
  api<T>(path: string, method?: string, body?: unknown): Promise<T>;
  sessions(query: Readonly<Record<string, string>>): Promise<readonly Session[]>;
  /** The one session with this SNI, once it has ended. */
  session(sni: string): Promise<Session>;
  /** The session of this client port that began at `since` (ms since the epoch) or later, once it has ended. Ports are used again. */
  sessionFrom(port: number, since: number): Promise<Session>;
  stats(): Promise<Stats>;
  /** Writes the configuration file again, with these keys in place of the original ones. */
  rewrite(config: Readonly<Record<string, unknown>>): void;
  /** Runs a command of the CLI with this node's configuration file. */
  command(...args: string[]): Promise<Outcome>;
  /** Ends the node with SIGTERM. Fails if it leaves sockets or processes, or logged a bug. */
  stop(): Promise<void>;
}

export const MAIN = new URL("../bin/main.mjs", import.meta.url).pathname;

export async function startNode(options: NodeOptions): Promise<TestNode> {
  const folder = scratch();
  const file = join(folder, "clearline.yaml");
  const [proxy, control] = [await freePort(), await freePort()];
  const ports = new Map<string, number>();
  for (const name of Object.keys(options.forwards ?? {})) ports.set(name, await freePort());
  const listening = { proxy, control, ports };
  const rewrite = (more: Readonly<Record<string, unknown>>) =>
    writeFileSync(file, JSON.stringify({ ...configurationOf(options, listening), ...more })); // YAML is a superset of JSON
  rewrite({});
  options.prepare?.(folder);

  const command = [process.execPath, MAIN, "run", "-c", file];
  const limited = ["/bin/sh", "-c", `ulimit -n ${options.openFiles} && exec "$0" "$@"`, ...command];
  const [executable = "", ...args] = [
    ...(options.within ?? []),
    ...(options.openFiles === undefined ? command : limited),
  ];
  const program = start(executable, args, {
    cwd: folder,
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...options.env },
  });
  const url = `http://127.0.0.1:${control}/api/v1`;
  await healthy(url, program);
  const idle = new Map(descendants(program.pid).map((pid) => [pid, openFiles(pid)]));
  const api = apiAt(url, readFileSync(join(folder, "data/token"), "utf8").trim());
  const sessions = async (query: Readonly<Record<string, string>>) =>
    (await api<SessionList>(`sessions?${new URLSearchParams({ live: "all", limit: "1000", ...query })}`)).sessions;
  const closed = async (what: string, is: (session: Session) => boolean, query: Readonly<Record<string, string>>) => {
    const found = await until(`a closed session of ${what}`, async () => {
      const list = (await sessions(query)).filter(is);
      return list.length > 0 && list.every(({ end }) => end !== null) && list;
    });
    assert.equal(found.length, 1, `sessions of ${what}: ${JSON.stringify(found, undefined, 2)}`);
    return found[0]!;
  };

  return {
    process: program,
    file,
    folder,
    captures: join(folder, "captures"),
    url,
    proxy,
    forward(name) {
      const port = ports.get(name);
      assert.ok(port !== undefined, `this node has no listener ${name}`);
      return port;
    },
    primary: bundle(folder, "primary"),
    secondary: bundle(folder, "secondary"),
    api,
    sessions,
    // The search also finds sessions by the names in the certificate.
    session: (name) => closed(name, ({ sni }) => sni === name, { host: name }),
    sessionFrom: (port, since) =>
      closed(`port ${port}`, ({ client, start }) => client.port === port && start >= since, { client: "127.0.0.1" }),
    rewrite,
    stats: () => api<Stats>("stats"),
    command: (...args) => run(process.execPath, [MAIN, ...args, "-c", file], { cwd: folder }),
    async stop() {
      // The node is stopped even if this check fails.
      const open = await Promise.allSettled([assertNothingOpen(idle, options), assertEngineAtRest(() => api("stats"))]);
      await stop(program);
      for (const one of open) if (one.status === "rejected") throw one.reason;
    },
    // A test that failed before its stop() leaves no node behind.
    async [Symbol.asyncDispose]() {
      await program.stop("SIGKILL");
    },
  };
}

interface Listening {
  readonly proxy: number;
  readonly control: number;
  /** The ports of the forwarding listeners, by name. */
  readonly ports: ReadonlyMap<string, number>;
}

function configurationOf(
  { trust, forwards, listeners = [], config }: NodeOptions,
  { proxy, control, ports }: Listening,
): object {
  const forwarding = [...ports].map(([name, port]) => ({
    name,
    mode: "forward",
    address: `127.0.0.1:${port}`,
    server: `127.0.0.1:${forwards?.[name]}`,
  }));
  return {
    dataDir: "./data",
    workers: 2,
    console: { address: `127.0.0.1:${control}` },
    trust: { system: false, files: trust },
    listeners: [{ name: "proxy", mode: "explicit", address: `127.0.0.1:${proxy}` }, ...forwarding, ...listeners],
    timeouts: { drain: "2s" },
    // The machine that tests run on may be as busy as it likes.
    overload: { eventLoopDelay: "off" },
    ...config,
  };
}

/** Resolves once the node's API says that it is healthy. Rejects with its output if it ends before that. */
async function healthy(url: string, program: Program): Promise<void> {
  const isHealthy = () =>
    fetch(`${url}/health`).then(
      (answer) => answer.ok,
      () => false,
    );
  const failed = program.ended.then(() => {
    throw new Error(`The node ended before it was ready:\n${program.output()}`);
  });
  await Promise.race([until("the node's health", isHealthy, 120_000), failed]);
}

function apiAt(url: string, token: string): TestNode["api"] {
  return async <T>(path: string, method = "GET", body?: unknown): Promise<T> => {
    const answer = await fetch(`${url}/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} was answered ${answer.status}: ${text}`);
    return (answer.headers.get("content-type")?.includes("json") === true ? JSON.parse(text) : text) as T;
  };
}

/** The living child processes of a process, and their children. */
export function descendants(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(file)) return [];
  const own = readFileSync(file, "utf8").trim().split(" ").filter(Boolean).map(Number);
  return own.flatMap((child) => [child, ...descendants(child)]);
}

/**
 * Asserts that the sockets of all sessions are closed, once the sessions have ended. A feed keeps one file open in each worker, a pcapng
 * feed twice. Dead workers are not checked.
 */
async function assertNothingOpen(idle: ReadonlyMap<number, number>, { config }: NodeOptions): Promise<void> {
  const kinds: readonly string[] = Array.isArray(config?.["feeds"]) ? config["feeds"].map(({ kind }) => kind) : [];
  const feeds = kinds.length + kinds.filter((kind) => kind === "pcapng").length;
  for (const [pid, before] of idle) {
    if (!existsSync(`/proc/${pid}/fd`)) continue;
    await until(`worker ${pid} back at ${before} open files`, () => openFiles(pid) <= before + feeds);
  }
}

/** Asserts that no TLS connection is left in any worker. Each reports once a second; a node that does not answer is passed over. */
async function assertEngineAtRest(stats: () => Promise<Stats>): Promise<void> {
  await until("every SSL freed", async () => {
    const now = await stats().catch(() => undefined);
    const engines = now?.sessions.live === 0 ? now.workers.map(({ engine }) => engine) : [];
    return engines.every((engine) => engine === undefined || engine.connections + engine.writePairs === 0);
  });
}

export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

async function stop(program: Program): Promise<void> {
  const workers = descendants(program.pid);
  const { code } = await program.stop();
  const output = program.output();
  assert.equal(code, 0, `the node ended with ${code}:\n${output}`);
  const left = workers.filter((pid) => existsSync(`/proc/${pid}`));
  assert.deepEqual(left, [], "processes that the node left behind");
  assert.doesNotMatch(output, /InvariantError|Unhandled|MaxListenersExceeded|TypeError|PRIVATE KEY/);
}

function bundle(folder: string, role: "primary" | "secondary"): string {
  // A CA from the configuration has no files here.
  const files = ["ecdsa", "rsa"].map((keyType) => join(folder, "data/ca", `${role}-${keyType}.pem`));
  const pem = files.filter((name) => existsSync(name)).map((name) => readFileSync(name, "utf8"));
  const file = join(folder, `${role}.pem`);
  writeFileSync(file, pem.join("\n"));
  return file;
}
