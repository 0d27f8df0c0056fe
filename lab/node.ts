import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Session, SessionList, Stats } from "../src/control/api.ts";
import { descendants, MAIN } from "../test/node.ts";
import { type Outcome, type Running, scratch, start, until } from "../test/processes.ts";
import type { Network } from "./network.ts";
import { PORTS } from "./servers.ts";

export interface LabNode extends AsyncDisposable {
  readonly process: Running;
  readonly file: string;
  readonly folder: string;
  readonly captures: string;
  /** PEM file with the CAs that a client must trust. */
  readonly authorities: string;
  api<T>(path: string): Promise<T>;
  /** Sessions of the client host, live and closed. */
  sessions(query?: Readonly<Record<string, string>>): Promise<readonly Session[]>;
  /** The session of the client's port that began at `since` (ms since the epoch) or later, once there is one: ports come back. */
  sessionFrom(port: number, since: number): Promise<Session>;
  stats(): Promise<Stats>;
  /** A command of the CLI, in the node's host, with its configuration file. */
  command(...args: string[]): Promise<Outcome>;
  /** All its processes, the supervisor first. */
  pids(): readonly number[];
  /** SIGKILL to these processes. Resolves when the node's own end is known, if the supervisor is among them. */
  kill(pids: readonly number[]): void;
  stop(): Promise<Outcome>;
}

export interface LabNodeOptions {
  readonly network: Network;
  /** PEM files of the roots that servers must reach. */
  readonly trust: readonly string[];
  /** Laid over the inline listener. */
  readonly listener?: Readonly<Record<string, unknown>>;
  /** Laid over the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** With CAP_NET_ADMIN alone, whoever starts it. */
  readonly confined?: boolean;
  /** Of an earlier node, to start it again. */
  readonly folder?: string;
  /** With the configuration that is in the folder already. */
  readonly asItIs?: boolean;
}

/** Writes the configuration of an inline node for this network. Returns the file's name. */
export function writeConfiguration({ network, trust, listener, config, folder = scratch() }: LabNodeOptions): string {
  const { topology, node } = network;
  const inline = {
    name: "edge",
    mode: "inline",
    topology,
    networkA: node.networkA,
    networkB: node.networkB,
    ...(topology === "bridge" ? { address: node.addresses } : {}),
    ...listener,
  };
  const file = join(folder, "clearline.yaml");
  mkdirSync(folder, { recursive: true });
  // YAML is a superset of JSON.
  const text = JSON.stringify(
    {
      dataDir: "./data",
      workers: 2,
      trust: { system: false, files: trust },
      listeners: [inline],
      policy: {
        versions: { min: "TLSv1" },
        rules: [{ name: "past the node", match: { port: [PORTS.bypassed] }, action: "bypass" }],
      },
      feeds: [{ name: "plaintext", kind: "pcapng", directory: "./captures" }],
      // Three seconds is how long the kernel asks for a neighbour that is not there, and a SYN comes a third time.
      timeouts: { connect: "8s", drain: "2s" },
      ...config,
    },
    undefined,
    2,
  );
  writeFileSync(file, text);
  return file;
}

/** Starts a node in the middle of the network, and resolves once it is ready. Rejects with its output when it is not. */
export async function startNode(options: LabNodeOptions): Promise<LabNode> {
  const { folder: given = "", asItIs = false } = options;
  const file = asItIs ? join(given, "clearline.yaml") : writeConfiguration(options);
  const folder = join(file, "..");
  const host = options.network.node;
  // Not `ip netns exec`: the namespaces that the node makes for its tools would be seen by itself alone.
  const inside = [`--net=/var/run/netns/${host.namespace}`];
  const confined = options.confined === true ? ["setpriv", "--bounding-set", "-all,+net_admin"] : [];
  const [command = "", ...args] = [...confined, process.execPath, MAIN, "run", "-c", file];
  const program = start("nsenter", [...inside, command, ...args], {
    cwd: folder,
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  });
  // Its loopback is its own: nothing outside of the namespace reaches the API.
  const ask = (path: string) =>
    host.run("curl", [
      "-sS",
      "-f",
      "-m",
      "10",
      "-H",
      `@${join(folder, "header")}`,
      `http://127.0.0.1:8484/api/v1/${path}`,
    ]);
  writeFileSync(join(folder, "header"), "", { mode: 0o600 });
  const ready = until("the node's health", async () => (await ask("health")).code === 0, 60_000);
  await Promise.race([ready, program.ended.then(() => Promise.reject(new Error(program.output())))]);
  const token = readFileSync(join(folder, "data/token"), "utf8").trim();
  writeFileSync(join(folder, "header"), `authorization: Bearer ${token}`);

  const api = async <T>(path: string): Promise<T> => {
    const { code, stdout, stderr } = await ask(path);
    if (code !== 0) throw new Error(`The node's API did not answer ${path}: ${stderr}`);
    return JSON.parse(stdout) as T;
  };
  const sessions = async (query: Readonly<Record<string, string>> = {}) => {
    const asked = new URLSearchParams({ live: "all", limit: "1000", ...query });
    return (await api<SessionList>(`sessions?${asked}`)).sessions;
  };
  const pids = () => [program.pid, ...descendants(program.pid)];
  return {
    process: program,
    file,
    folder,
    captures: join(folder, "captures"),
    authorities: bundle(folder),
    api,
    sessions,
    stats: () => api<Stats>("stats"),
    sessionFrom: (port, since) =>
      until(`a session of the client's port ${port}`, async () =>
        (await sessions()).find(({ client, start }) => client.port === port && start >= since),
      ),
    command: (...words) => host.run(process.execPath, [MAIN, ...words, "-c", file], { cwd: folder }),
    pids,
    kill(which) {
      for (const pid of which) end(pid);
    },
    stop: () => program.stop(),
    [Symbol.asyncDispose]: async () => {
      // What a crashed supervisor leaves would keep the namespace's port.
      const left = pids();
      await program.stop();
      for (const pid of left.slice(1)) end(pid);
    },
  };
}

function end(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

function bundle(folder: string): string {
  const file = join(folder, "authorities.pem");
  const parts = ["ecdsa", "rsa"].map((type) => readFileSync(join(folder, "data/ca", `primary-${type}.pem`), "utf8"));
  writeFileSync(file, parts.join("\n"));
  return file;
}
