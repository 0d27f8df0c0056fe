import { createHash, createPrivateKey, randomBytes, randomInt, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { checkEngine } from "../src/engine/check.ts";
import { Context } from "../src/engine/contexts.ts";
import { connect, openSocket } from "../src/engine/dial.ts";
import type { End } from "../src/engine/end.ts";
import { END, type Layer } from "../src/engine/layer.ts";
import { listen } from "../src/engine/listen.ts";
import { OpensslLayer } from "../src/engine/openssl-layer.ts";
import { Ssl3Layer } from "../src/engine/ssl3-layer.ts";
import { loop, readBytes, readToEnd, shake, writeAll, writer } from "../src/engine/test-ends.ts";
import { within } from "../src/linux/netns.ts";
import { createClient } from "../src/ssl3/client.ts";
import { createServer } from "../src/ssl3/server.ts";
import { suitesFor } from "../src/ssl3/suites.ts";
import { VERSIONS } from "../src/vocabulary.ts";
import { descendants, openFiles, startNode, type TestNode } from "./node.ts";
import { DOMAIN, type Identity, makePki, type Pki } from "./pki.ts";
import { until } from "./processes.ts";
import { buildNetwork, HOSTS, networkObstacle, RULES, type SoakNetwork } from "./soak-network.ts";

/**
 * `npm run soak` sends sessions of all versions through a node: transfers of any length whose hashes are compared, half-closes from
 * either side, kills of either side in the middle, and reloads that change the policy. As root they come by all modes, and pass tools and
 * feeds of all kinds. At the end nothing may be left in the workers.
 *
 * --sessions N   how many, 100,000 by default
 * --minutes M    for so long, in the place of a number
 * --at-once N    sessions at one time, 64 by default
 * --longest N    bytes that a session carries each way at most, 65,536 by default
 * --loopback     as root too, only what needs no network of its own
 * --plot FILE    writes what the workers held over time, as SVG
 */

/** What one look at the workers showed. */
interface Sample {
  /** Seconds since the start. */
  readonly at: number;
  readonly sessions: number;
  /** MiB of both workers. */
  readonly memory: number;
  readonly descriptors: number;
  readonly connections: number;
  readonly ends: number;
}

export interface Soaked {
  readonly sessions: number;
  readonly killed: number;
  /** Transfers that came to another end than they should have, each with why. */
  readonly faults: readonly string[];
  /** When it began, while it ran, and when all sessions had ended. */
  readonly samples: readonly Sample[];
}

interface Plan {
  readonly sessions: number;
  readonly atOnce: number;
  /** Bytes each way. */
  readonly longest: number;
  /** Seconds; sessions stop when they are over. */
  readonly seconds: number;
  /** Absent: the node is on loopback, with a pcapng feed and without tools. */
  readonly network?: SoakNetwork | undefined;
  readonly progress?: (text: string) => void;
}

type Kind = "plain" | "SSLv3" | "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
/** TLS 1.3 and 1.2 more often than the others. */
const KINDS: readonly Kind[] = [
  "plain",
  "SSLv3",
  "TLSv1",
  "TLSv1.1",
  ...many<Kind>("TLSv1.2", 3),
  ...many<Kind>("TLSv1.3", 4),
];
const LONGEST = 64 * 1024;
/** Seconds between two reloads. */
const RELOAD = 20;
const TIMEOUT = 30_000;

/** What both peers know beforehand, of which every transfer is a part. */
const noise = randomBytes(2 * LONGEST);

/** Who ends a session, and how. */
const ENDS = ["client ends", "server ends", "client kills", "server kills"] as const;

/** In front of each session's bytes. */
interface Order {
  readonly up: number;
  readonly down: number;
  readonly end: (typeof ENDS)[number];
}

/** How a session comes to the node. */
type Mode = "forward" | "explicit" | "inline";

interface Visit extends Order {
  readonly kind: Kind;
  readonly mode: Mode;
  readonly host: string;
}

const ORDER = 12;

export async function soak(plan: Plan): Promise<Soaked> {
  const { sessions, atOnce, longest, seconds, network, progress = () => {} } = plan;
  checkEngine();
  const pki = await makePki();
  const servers = (["plain", "SSLv3", "tls"] as const).map((name) => [name, serve(name, pki, network)] as const);
  const ports = Object.fromEntries(servers.map(([name, { near }]) => [name, near.local()!.port]));
  const farPorts = Object.fromEntries(servers.map(([name, { far }]) => [name, far?.local()?.port ?? 0]));
  const policies = policiesOf(network);
  await using node = await startNode({
    trust: [pki.root.certificate],
    forwards: ports,
    ...(network && { listeners: [network.listener] }),
    config: {
      policy: policies[0],
      history: { sessions: 1_000 },
      tools: network?.tools ?? [],
      feeds: [
        { name: "archive", kind: "pcapng", directory: "./captures", flows: ["decrypted"], rotate: "10MB", keep: 2 },
        ...(network?.feeds ?? []),
      ],
      log: { level: "warn" },
    },
  });
  await network?.read();
  const watch = watchWorkers(node);
  const faults: string[] = [];
  let [begun, done, killed] = [0, 0, 0];
  const deadline = performance.now() + seconds * 1000;
  await until("a report of each worker", async () => (await node.stats()).workers.every(({ engine }) => engine));
  await watch.look(0);
  const ticker = setInterval(() => {
    void watch.look(done).then(({ memory, connections }) => {
      progress(`${done} sessions, ${faults.length} faults, ${memory} MiB, ${connections} SSLs`);
    });
  }, 1_000);
  let reloaded = 0;
  const reloads = setInterval(() => {
    reloaded += 1;
    node.rewrite({ policy: policies[reloaded % policies.length] });
    process.kill(node.process.pid, "SIGHUP");
  }, RELOAD * 1_000);
  const where = { node, ports, farPorts, network };
  const run = async () => {
    while (begun < sessions && performance.now() < deadline) {
      begun += 1;
      const one = pick(longest, network !== undefined);
      if (one.end.endsWith("kills")) killed += 1;
      await visit(where, one).catch((error: Error) => {
        const { kind, mode, host, end, up, down } = one;
        faults.push(`${kind}, ${mode}, ${host}, ${end}, ${up} up, ${down} down: ${error.message}`);
      });
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, run));
  clearInterval(ticker);
  clearInterval(reloads);
  // The workers report once a second.
  await until("the end of all sessions", async () => {
    const { sessions: table, workers } = await node.stats();
    return table.live === 0 && workers.every(({ engine }) => engine?.connections === 0);
  });
  await watch.look(done);
  await node.stop();
  for (const [, { near, far }] of servers) for (const end of [near, far]) end?.close();
  return { sessions: done, killed, faults, samples: watch.samples };
}

/** Reloads go from one to the other. */
function policiesOf(network: SoakNetwork | undefined): readonly object[] {
  const common = { versions: { min: "SSLv3" } };
  const unmatched = { name: "unmatched", match: { host: ["*.never.example"] }, action: "drop" };
  const rules = network ? RULES : [];
  return [
    { ...common, rules },
    { ...common, rules: [unmatched, ...rules] },
  ];
}

function pick(longest: number, isAnywhere: boolean): Visit {
  const modes: readonly Mode[] = isAnywhere ? ["forward", "explicit", "inline"] : ["forward"];
  return {
    ...{ up: randomInt(longest), down: randomInt(longest), end: pickEnd() },
    kind: oneOf(KINDS),
    mode: oneOf(modes),
    host: isAnywhere ? oneOf(HOSTS) : `soak.${DOMAIN}`,
  };
}

function oneOf<T>(values: readonly T[]): T {
  return values[randomInt(values.length)]!;
}

/** One session in four is killed. */
function pickEnd(): Order["end"] {
  const [orderly, kill] = [randomInt(4) > 0, randomInt(2)];
  return ENDS[orderly ? kill : 2 + kill]!;
}

function many<T>(value: T, times: number): T[] {
  return Array.from({ length: times }, () => value);
}

function watchWorkers(node: TestNode) {
  const samples: Sample[] = [];
  const start = performance.now();
  const look = async (sessions: number): Promise<Sample> => {
    const { workers } = await node.stats();
    const sum = (value: (worker: (typeof workers)[number]) => number) =>
      workers.reduce((all, worker) => all + value(worker), 0);
    const sample = {
      at: (performance.now() - start) / 1000,
      sessions,
      memory: Math.round(sum(({ memory = 0 }) => memory) / 2 ** 20),
      descriptors: descendants(node.process.pid).reduce((all, pid) => all + filesOf(pid), 0),
      connections: sum(({ engine }) => engine?.connections ?? 0),
      ends: sum(({ engine }) => engine?.ends ?? 0),
    };
    samples.push(sample);
    return sample;
  };
  return { samples, look };
}

/** A reload runs programs such as nft, which end at any time. */
function filesOf(pid: number): number {
  try {
    return openFiles(pid);
  } catch {
    return 0;
  }
}

const ANY = "TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0";
const common = { ciphers: ANY, tickets: true, sessions: false, keyLog: false };
const clients = new Map<Kind, Context>();

function clientLayer(end: End, kind: Kind, serverName: string): Layer {
  if (kind === "SSLv3") {
    const suites = suitesFor("all").map(({ id }) => id);
    return new Ssl3Layer(
      end.takeWire(),
      createClient({ random: randomBytes, suites, dhBits: 4096, fallback: false, session: undefined }),
    );
  }
  const version = VERSIONS[kind as Exclude<Kind, "plain">];
  const context =
    clients.get(kind) ?? new Context({ role: "client", ...common, minVersion: version, maxVersion: version, alpn: [] });
  clients.set(kind, context);
  return new OpensslLayer({ end, writer, context, serverName });
}

/** The same server on loopback and, where there is one, in the server's network. */
function serve(name: "plain" | "SSLv3" | "tls", { server }: Pki, network: SoakNetwork | undefined) {
  const layerOf = name === "plain" ? undefined : name === "SSLv3" ? ssl3Server(server.ecdsa) : tlsServer(server.ecdsa);
  const listenAt = (host: string) =>
    listen(loop, { host, port: 0, shared: false }, (end) => {
      // What goes wrong here is seen at the client.
      answer(end, layerOf).catch(() => end.reset());
    });
  const { namespace, address } = network?.crossing.server ?? {};
  const far = namespace && address ? within(namespace, () => listenAt(address)) : undefined;
  return { near: listenAt("127.0.0.1"), far };
}

function tlsServer({ certificate, key }: Identity): (end: End) => Layer {
  const identities = [{ certificatePem: readFileSync(certificate, "utf8"), keyPem: readFileSync(key, "utf8") }];
  const versions = { minVersion: VERSIONS.TLSv1, maxVersion: VERSIONS["TLSv1.3"] };
  const context = new Context({ role: "server", ...common, ...versions, identities, sessionTimeout: 300 });
  return (end) => new OpensslLayer({ end, writer, context });
}

function ssl3Server({ certificate, key }: Identity): (end: End) => Layer {
  const chain = [new X509Certificate(readFileSync(certificate)).raw];
  const identities = [{ chain, key: createPrivateKey(readFileSync(key)) }];
  const options = { random: randomBytes, identities, suites: "all" as const, find: undefined };
  return (end) => new Ssl3Layer(end.takeWire(), createServer({ ...options, highest: VERSIONS.SSLv3 }));
}

async function secure(end: End, layer: Layer): Promise<void> {
  const { agreed } = await shake(end, layer);
  if (!("version" in agreed)) throw new Error(`the handshake failed: ${agreed.code}`);
}

/** The server: reads its order, and does what it says. */
async function answer(end: End, layerOf: ((end: End) => Layer) | undefined): Promise<void> {
  if (layerOf) await secure(end, layerOf(end));
  const head = (await readBytes(end, ORDER)).bytes;
  const [up, down, ending] = [0, 4, 8].map((at) => head.readUInt32BE(at)) as [number, number, number];
  const { bytes } = await readBytes(end, up);
  await writeAll(end, createHash("sha256").update(bytes).digest());
  if (ENDS[ending] === "server kills") {
    end.reset();
    return;
  }
  await writeAll(end, noise.subarray(up, up + down));
  if (ENDS[ending] === "client ends") await expectEnd(end);
  await finish(end);
  if (ENDS[ending] === "server ends") await expectEnd(end);
  end.close();
}

interface Where {
  readonly node: TestNode;
  /** Of the servers, on loopback and in their network. */
  readonly ports: Readonly<Record<string, number>>;
  readonly farPorts: Readonly<Record<string, number>>;
  readonly network: SoakNetwork | undefined;
}

/** The client. Throws when something else comes than the order says. */
async function visit(where: Where, { kind, mode, host, ...order }: Visit): Promise<void> {
  const server = kind === "plain" || kind === "SSLv3" ? kind : "tls";
  const end = await reach(where, server, mode);
  try {
    if (kind !== "plain") await secure(end, clientLayer(end, kind, host));
    await converse(end, order);
  } finally {
    end.reset();
  }
}

async function reach({ node, ports, farPorts, network }: Where, server: string, mode: Mode): Promise<End> {
  const here = (port: number) => connect(loop, openSocket("127.0.0.1"), { address: "127.0.0.1", port }, TIMEOUT);
  if (mode === "forward") return here(node.forward(server));
  if (mode === "inline") {
    const { client, server: far } = network!.crossing;
    const fd = within(client.namespace!, () => openSocket(far.address));
    return connect(loop, fd, { address: far.address, port: farPorts[server]! }, TIMEOUT);
  }
  const end = await here(node.proxy);
  const target = `127.0.0.1:${ports[server]}`;
  await writeAll(end, Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`));
  const { bytes } = await readBytes(end, ESTABLISHED.length);
  if (bytes.toString() !== ESTABLISHED) throw new Error(`CONNECT was answered ${JSON.stringify(bytes.toString())}`);
  return end;
}

const ESTABLISHED = "HTTP/1.1 200 Connection established\r\n\r\n";

async function converse(end: End, { up, down, end: ending }: Order): Promise<void> {
  const head = Buffer.alloc(ORDER);
  for (const [index, value] of [up, down, ENDS.indexOf(ending)].entries()) head.writeUInt32BE(value, index * 4);
  const sent = noise.subarray(down, down + up);
  await writeAll(end, Buffer.concat([head, sent.subarray(0, ending === "client kills" ? up >> 1 : up)]));
  if (ending === "client kills") return;
  if (ending === "server kills") {
    await readToEnd(end);
    return;
  }
  const { bytes: hash } = await readBytes(end, 32);
  if (!hash.equals(createHash("sha256").update(sent).digest())) throw new Error("the server got other bytes");
  if (ending === "client ends") await finish(end);
  const { bytes, last } = await readToEnd(end);
  if (!bytes.equals(noise.subarray(up, up + down))) throw new Error(`${bytes.length} bytes came, and not those sent`);
  if (last !== END) throw new Error(`it ended with ${last}`);
  if (ending === "server ends") await finish(end);
}

async function finish(end: End): Promise<void> {
  await writeAll(end, Buffer.alloc(0));
  if (!end.finish()) throw new Error("close_notify was not taken");
  end.fin();
}

async function expectEnd(end: End): Promise<void> {
  const { bytes, last } = await readToEnd(end);
  if (bytes.length > 0 || last !== END) throw new Error(`${bytes.length} bytes came, and then ${last}`);
}

const [WIDTH, HEIGHT] = [900, 140];

/** Three curves over time, each on its own scale. */
export function plot(samples: readonly Sample[]): string {
  const curves = [
    ["memory of the workers, MiB", (sample: Sample) => sample.memory],
    ["descriptors of the workers", (sample: Sample) => sample.descriptors],
    ["TLS connections (SSL)", (sample: Sample) => sample.connections],
  ] as const;
  const last = Math.max(1, samples.at(-1)?.at ?? 1);
  const panels = curves.map(([title, value], index) => {
    const most = Math.max(1, ...samples.map(value));
    const x = (at: number) => (50 + (at / last) * (WIDTH - 70)).toFixed(1);
    const y = (one: number) => (HEIGHT - 20 - (one / most) * (HEIGHT - 45)).toFixed(1);
    const points = samples.map((sample) => `${x(sample.at)},${y(value(sample))}`).join(" ");
    return `<g transform="translate(0 ${index * HEIGHT})">
<text x="50" y="16">${title}</text><text x="44" y="30" text-anchor="end">${most}</text>
<text x="44" y="${HEIGHT - 20}" text-anchor="end">0</text>
<path d="M50 ${HEIGHT - 20}H${WIDTH - 20}" stroke="#888"/>
<polyline points="${points}" fill="none" stroke="#0b62a4" stroke-width="1.5"/></g>`;
  });
  const height = curves.length * HEIGHT + 20;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#444" role="img" aria-labelledby="t">
<title id="t">What the workers held during the soak</title>
${panels.join("\n")}
<text x="${WIDTH - 20}" y="${height - 8}" text-anchor="end">${samples.at(-1)?.sessions ?? 0} sessions in ${Math.round(last)} s</text>
</svg>
`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      sessions: { type: "string" },
      minutes: { type: "string" },
      "at-once": { type: "string", default: "64" },
      longest: { type: "string", default: `${LONGEST}` },
      loopback: { type: "boolean", default: false },
      plot: { type: "string" },
    },
  });
  const seconds = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes) * 60;
  const standard = values.minutes === undefined ? 100_000 : Number.POSITIVE_INFINITY;
  const obstacle = values.loopback ? "--loopback" : networkObstacle();
  if (obstacle) process.stderr.write(`On loopback alone: ${obstacle}\n`);
  const { sessions, killed, faults, samples } = await soak({
    network: obstacle ? undefined : await buildNetwork(),
    sessions: values.sessions === undefined ? standard : Number(values.sessions),
    atOnce: Number(values["at-once"]),
    longest: Math.min(Number(values.longest), LONGEST),
    seconds,
    progress: (text) => process.stderr.write(`\r\x1b[K${text}`),
  });
  process.stderr.write("\n");
  const [first, last] = [samples[0]!, samples.at(-1)!];
  console.log(`${sessions} sessions, ${killed} of them killed, in ${Math.round(last.at)} s; ${faults.length} faults`);
  for (const fault of faults.slice(0, 20)) console.log(`  ${fault}`);
  for (const what of ["descriptors", "connections", "ends", "memory"] as const) {
    console.log(`${what.padEnd(12)} ${first[what]} at the start, ${last[what]} at the end`);
  }
  if (values.plot !== undefined) writeFileSync(values.plot, plot(samples));
  process.exit(faults.length === 0 ? 0 : 1);
}

if (import.meta.main) await main();
