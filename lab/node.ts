import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Session, SessionList, Stats } from "../src/control/api.ts";
import { within } from "../src/linux/netns.ts";
import { AF, SOCK, socket } from "../src/linux/syscalls.ts";
import { descendants, MAIN } from "../test/node.ts";
import { DOMAIN } from "../test/pki.ts";
import { type Outcome, type Program, scratch, start, until } from "../test/processes.ts";
import type { Network } from "./network.ts";
import { PORTS } from "./servers.ts";

const API = { host: "127.0.0.1", port: 8484 } as const;

/** The lab's configuration drops this host. */
export const DROPPED = `dropped.${DOMAIN}`;

export interface LabNode extends AsyncDisposable {
  readonly process: Program;
  readonly file: string;
  readonly folder: string;
  readonly captures: string;
  /** A PEM file with the node's CAs, for clients to trust. */
  readonly authorities: string;
  api<T>(path: string, method?: string): Promise<T>;
  /** All sessions, live and closed. */
  sessions(query?: Readonly<Record<string, string>>): Promise<readonly Session[]>;
  /** The session of this client port that began at `since` (ms since the epoch) or later, once there is one. Ports are used again. */
  sessionFrom(port: number, since: number): Promise<Session>;
  stats(): Promise<Stats>;
  /** Runs a command of the CLI in the node's host, with its configuration file. */
  command(...args: string[]): Promise<Outcome>;
  /** All its processes, the supervisor first. */
  pids(): readonly number[];
  /** Sends SIGKILL to these processes. */
  kill(pids: readonly number[]): void;
  /** Starts it again, after its end, and does not wait until it is ready. */
  begin(): Program;
  stop(): Promise<Outcome>;
}

export interface LabNodeOptions {
  readonly network: Network;
  /** PEM files of the roots that servers must reach. */
  readonly trust: readonly string[];
  /** Overrides keys of the inline listener. */
  readonly listener?: Readonly<Record<string, unknown>>;
  /** Overrides keys of the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** With CAP_NET_ADMIN as the only privilege. */
  readonly confined?: boolean;
  /** A command that starts the node: the node's is its last arguments. */
  readonly within?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** The folder of an earlier node, to start it again. */
  readonly folder?: string;
  /** With the configuration file that is already in the folder. */
  readonly asItIs?: boolean;
}

/** Writes the configuration of an inline node for this network. Returns the file's path. */
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
        startTls: { enabled: true, ports: [PORTS.talk] },
        rules: [
          { name: "past the node", match: { port: [PORTS.bypassed] }, action: "bypass" },
          { name: "no such host", match: { host: [DROPPED] }, action: "drop" },
        ],
      },
      feeds: [{ name: "plaintext", kind: "pcapng", directory: "./captures" }],
      // Longer than the 3 s for which the kernel looks for an absent neighbour, and after which it sends a SYN a third time.
      timeouts: { connect: "5s", drain: "2s" },
      ...config,
    },
    undefined,
    2,
  );
  writeFileSync(file, text);
  return file;
}

/** Starts the network's node, and resolves once it is ready. Rejects with its output if it ends before that. */
export async function startNode(options: LabNodeOptions): Promise<LabNode> {
  const { folder: given = "", asItIs = false } = options;
  const file = asItIs ? join(given, "clearline.yaml") : writeConfiguration(options);
  const folder = join(file, "..");
  const host = options.network.node;
  // Not `ip netns exec`, which makes a mount namespace: only the node would see the namespaces that it makes for its tools.
  const inside = [`--net=/var/run/netns/${host.namespace}`];
  const confined = options.confined === true ? ["setpriv", "--bounding-set", "-all,+net_admin"] : [];
  const command = [...(options.within ?? []), ...confined, process.execPath, MAIN, "run", "-c", file];
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined, ...options.env };
  const begin = () => start("nsenter", [...inside, ...command], { cwd: folder, env });
  const program = begin();
  let token = "";
  const ask = (path: string, method?: string) => askApi(host, path, token, method);
  const isHealthy = () =>
    ask("health").then(
      ({ ok }) => ok,
      () => false,
    );
  const ready = until("the node's health", isHealthy, 180_000);
  await Promise.race([ready, program.ended.then(() => Promise.reject(new Error(program.output())))]);
  token = readFileSync(join(folder, "data/token"), "utf8").trim();

  const api = async <T>(path: string, method?: string): Promise<T> => {
    const { ok, text } = await ask(path, method);
    if (!ok) throw new Error(`The node's API did not answer ${path}: ${text}`);
    return JSON.parse(text) as T;
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
    begin,
    stop: () => program.stop(),
    [Symbol.asyncDispose]: async () => {
      // Workers of a crashed supervisor would keep the namespace's ports.
      const left = pids();
      await program.stop();
      for (const pid of left.slice(1)) end(pid);
    },
  };
}

/** Asks the API at the loopback interface of the node's namespace. Many claims ask until something happens: a program each time is slow. */
async function askApi(
  host: Network["node"],
  path: string,
  token: string,
  method = "GET",
): Promise<{ ok: boolean; text: string }> {
  const fd = within(host.namespace, () => socket(AF.INET, SOCK.STREAM | SOCK.NONBLOCK, 0));
  // Node's types do not know manualStart.
  const options = { fd, manualStart: true };
  const connection = new Socket(options).connect(API);
  const headers = { host: `${API.host}:${API.port}`, ...(token !== "" && { authorization: `Bearer ${token}` }) };
  const signal = AbortSignal.timeout(10_000);
  const asking = request({
    createConnection: () => connection,
    method,
    path: `/api/v1/${path}`,
    headers,
    signal,
  });
  const [answer] = (await once(asking.end(), "response")) as [IncomingMessage];
  return { ok: answer.statusCode === 200, text: await text(answer) };
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
