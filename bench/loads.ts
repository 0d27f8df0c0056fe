import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { BIG, SMALL } from "./origin.ts";
import { run } from "./processes.ts";
import type { Way } from "./subjects.ts";

/** New connections at a time when sessions are counted. */
export const CLIENTS = 16;

/**
 * Sessions of one small request each, by `hey`, Go's TLS client; what it and the origin can do at most is the row of
 * "direct". Answers how many were served, and in how many seconds. Throws when one failed.
 */
export async function openSessions(way: Way, seconds: number): Promise<{ sessions: number; seconds: number }> {
  const proxy = way.proxy === undefined ? [] : ["-x", `http://127.0.0.1:${way.proxy}`];
  const host = ["-host", "localhost"]; // else hey sends the port in its SNI too, which no server name may have
  const output = await run("hey", [
    "-z",
    `${seconds}s`,
    "-c",
    `${CLIENTS}`,
    "-disable-keepalive",
    ...host,
    ...proxy,
    `${way.url}${SMALL}`,
  ]);
  const served = Number(/\[200\]\s+(\d+) responses/.exec(output)?.[1] ?? 0);
  const total = Number(/Total:\s+([\d.]+) secs/.exec(output)?.[1] ?? 0);
  const errors = /Error distribution:([\s\S]*)/.exec(output)?.[1]?.trim();
  if (served === 0 || errors) throw new Error(`hey got ${served} answers; ${errors ?? "no errors were reported"}`);
  return { sessions: served, seconds: total };
}

/** Downloads at the same time, by one curl, of a big body each, for at most so long (curl then exits with 28). Answers bytes and seconds. */
export async function download(
  way: Way,
  sessions: number,
  seconds: number,
): Promise<{ bytes: number; seconds: number }> {
  const proxy = way.proxy === undefined ? [] : ["--proxy", `http://127.0.0.1:${way.proxy}`];
  const targets = Array.from({ length: sessions }, () => ["-o", "/dev/null", `${way.url}${BIG}`]).flat();
  const options = [
    "-q",
    "-k",
    "-s",
    "--http1.1",
    "--max-time",
    `${seconds}`,
    "-w",
    "%{http_code} %{size_download} %{time_total}\\n",
  ];
  const output = await run("curl", [...options, "--parallel", "--parallel-max", `${sessions}`, ...proxy, ...targets]);
  const rows = output
    .trim()
    .split("\n")
    .map((line) => line.split(" ").map(Number));
  const answered = rows.filter(([code, size]) => code === 200 && size! > 0).length;
  if (answered === 0) throw new Error(`curl downloaded nothing from ${way.url}: ${output.split("\n")[0]}`);
  if (answered < sessions) process.stderr.write(`bench: ${sessions - answered} of ${sessions} sessions got nothing\n`);
  const bytes = rows.reduce((sum, [, size]) => sum + size!, 0);
  return { bytes, seconds: Math.max(...rows.map(([, , time]) => time!)) };
}

/** Opens sessions that have made one request and then stay silent. The answer ends them. */
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

/** What a client sees of a subject: that all do the same work is shown, not believed. */
export async function conditions(way: Way): Promise<string> {
  const socket = await connect(way, []);
  const { asn1Curve, bits } = socket.getPeerCertificate() as { asn1Curve?: string; bits?: number };
  const group = (socket.getEphemeralKeyInfo() as { name?: string }).name ?? "X25519MLKEM768";
  const seen = `${socket.getProtocol()}, ${socket.getCipher().name}, ${group}, ${asn1Curve ?? `RSA ${bits}`}`;
  socket.destroy();
  return seen;
}

async function connect(way: Way, sockets: tls.TLSSocket[]): Promise<tls.TLSSocket> {
  const plain = net.connect(way.port, "127.0.0.1");
  if (way.proxy !== undefined) {
    const target = new URL(way.url).host;
    plain.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    const [answer] = (await once(plain, "data")) as [Buffer];
    if (!answer.toString("latin1").startsWith("HTTP/1.1 200"))
      throw new Error(`CONNECT was answered "${answer.toString("latin1").split("\r")[0]}"`);
  }
  // Nothing is verified: the bench measures the node, and the tests verify.
  const socket = tls.connect({
    socket: plain,
    servername: "localhost",
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
  });
  sockets.push(socket);
  socket.on("error", () => undefined); // seen by whoever waits for it
  await once(socket, "secureConnect");
  return socket;
}
