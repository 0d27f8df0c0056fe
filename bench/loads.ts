import { once } from "node:events";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { dial, type Host } from "./hosts.ts";
import { BIG, SMALL } from "./origin.ts";
import { run } from "./processes.ts";

/** How clients reach the target: directly, or with CONNECT through a proxy. */
export interface Way {
  readonly from: Host;
  readonly target: Target;
  readonly proxy?: { readonly address: string; readonly port: number };
  /** The target's port without TLS, if plaintext is measured. */
  readonly plainPort?: number;
}

export interface Target {
  /** The name or the address that clients ask for. */
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** How many clients open new sessions at the same time. */
export const CLIENTS = 16;

/** The name in every certificate of the bench. */
const SERVER_NAME = "localhost";

/**
 * Opens sessions with one small request each, with `hey` (Go's TLS client). The row of "direct" shows the limit of `hey` and
 * the origin. Resolves with how many were served, in how many seconds. Throws when one fails.
 */
export async function openSessions(way: Way, seconds: number): Promise<{ sessions: number; seconds: number }> {
  const { from, target } = way;
  const proxy = way.proxy === undefined ? [] : ["-x", `http://${way.proxy.address}:${way.proxy.port}`];
  const host = ["-host", SERVER_NAME]; // without it, hey's SNI contains the port
  const load = ["-z", `${seconds}s`, "-c", `${CLIENTS}`, "-disable-keepalive"];
  const output = await run("hey", [...load, ...host, ...proxy, `https://${target.name}:${target.port}${SMALL}`], from);
  const served = Number(/\[200\]\s+(\d+) responses/.exec(output)?.[1] ?? 0);
  const total = Number(/Total:\s+([\d.]+) secs/.exec(output)?.[1] ?? 0);
  const errors = /Error distribution:([\s\S]*)/.exec(output)?.[1]?.trim();
  if (served === 0 || errors) throw new Error(`hey got ${served} answers; ${errors ?? "no errors were reported"}`);
  return { sessions: served, seconds: total };
}

/** Downloads large bodies in parallel with one curl, for at most `seconds` (curl then exits with 28). Resolves with bytes and seconds. */
export async function download(
  way: Way,
  sessions: number,
  seconds: number,
  url = `https://${SERVER_NAME}:${way.target.port}${BIG}`,
): Promise<{ bytes: number; seconds: number }> {
  const { from, target } = way;
  const proxy = way.proxy === undefined ? [] : ["--proxy", `http://${way.proxy.address}:${way.proxy.port}`];
  const targets = Array.from({ length: sessions }, () => ["-o", "/dev/null", url]).flat();
  const report = ["-w", "%{http_code} %{size_download} %{time_total}\\n"];
  const options = ["-q", "-k", "-s", "--http1.1", "--max-time", `${seconds}`, ...report];
  const where = ["--connect-to", `${SERVER_NAME}::${target.name}:`];
  const many = ["--parallel", "--parallel-max", `${sessions}`];
  const output = await run("curl", [...options, ...where, ...many, ...proxy, ...targets], from);
  const rows = output
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  const answered = rows.filter(([code, size]) => code === 200 && size! > 0).length;
  if (answered === 0) throw new Error(`curl downloaded nothing from ${url}: ${output.split("\n")[0]}`);
  if (answered < sessions) process.stderr.write(`bench: ${sessions - answered} of ${sessions} sessions got nothing\n`);
  const bytes = rows.reduce((sum, [, size]) => sum + size!, 0);
  return { bytes, seconds: Math.max(...rows.map(([, , time]) => time!)) };
}

/** Downloads over one plaintext connection. */
export function downloadPlain(way: Way, port: number, seconds: number): Promise<{ bytes: number; seconds: number }> {
  return download(way, 1, seconds, `http://${SERVER_NAME}:${port}${BIG}`);
}

/** The times of `count` TCP connects, one after another, as their client sees them, in ms. */
export async function connectTimes({ from, target }: Way, count: number): Promise<readonly number[]> {
  const program = fileURLToPath(new URL("connects.ts", import.meta.url));
  const output = await run(process.execPath, [program, target.address, `${target.port}`, `${count}`], from);
  const times = output === "" ? [] : (JSON.parse(output) as number[]);
  if (times.length < count) throw new Error(`A connection to ${target.address}:${target.port} was not made`);
  return times;
}

/** Opens sessions that send one request and then stay silent. Resolves with a function that closes them. */
export async function holdSessions(way: Way, count: number): Promise<() => void> {
  const sockets: tls.TLSSocket[] = [];
  let begun = 0;
  const open = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      const socket = await connect(way, sockets);
      socket.write(`GET ${SMALL} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      await once(socket, "data");
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, open));
  return () => {
    for (const socket of sockets) socket.destroy();
  };
}

/** What a client sees of a subject: it shows that all subjects do the same work, and who decrypts. */
export async function conditions(way: Way): Promise<string> {
  const socket = await connect(way, []);
  const { asn1Curve, bits, issuer } = socket.getPeerCertificate();
  const group = (socket.getEphemeralKeyInfo() as { name?: string }).name ?? "X25519MLKEM768";
  const key = asn1Curve ?? `RSA ${bits}`;
  const seen = `${socket.getProtocol()}, ${socket.getCipher().name}, ${group}, ${key} issued by ${[issuer.CN].flat()[0]}`;
  socket.destroy();
  return seen;
}

async function connect(way: Way, sockets: tls.TLSSocket[]): Promise<tls.TLSSocket> {
  const { address, port } = way.proxy ?? way.target;
  const plain = dial(way.from, address, port);
  if (way.proxy !== undefined) {
    const target = `${way.target.name}:${way.target.port}`;
    plain.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    const [answer] = (await once(plain, "data")) as [Buffer];
    if (!answer.toString("latin1").startsWith("HTTP/1.1 200"))
      throw new Error(`CONNECT was answered "${answer.toString("latin1").split("\r")[0]}"`);
  }
  // The bench verifies no certificate; the tests do.
  const socket = tls.connect({
    socket: plain,
    servername: SERVER_NAME,
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
  });
  sockets.push(socket);
  socket.on("error", () => undefined); // the caller sees it too
  await once(socket, "secureConnect");
  return socket;
}
