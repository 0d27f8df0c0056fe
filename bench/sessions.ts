import { once } from "node:events";
import type { SecureVersion, TLSSocket } from "node:tls";
import { connect, type Job, takeJob } from "./client.ts";

/**
 * A program whose clients open one session after another, each with a small request, for some seconds. It prints how many
 * there were, how many resumed, and how long they took; with `shows`, what the client and the origin saw of one session.
 */
interface Sessions extends Job {
  readonly clients: number;
  readonly seconds: number;
  /** Clients resume with what the session before gave them. */
  readonly resumes?: boolean;
  /** The only version. */
  readonly version?: string;
  readonly shows?: boolean;
}

const job = takeJob<Sessions>();
const version = job.version as SecureVersion | undefined;
const versions = version ? { minVersion: version, maxVersion: version } : {};
const start = performance.now();
let sessions = 0;
let resumed = 0;

if (job.shows) {
  // The first may bring what a later one resumes with; a program of several processes needs some for each of them.
  for (let times = 0; times < 7; times += 1) await show();
  console.log(JSON.stringify({ seen: await show() }));
} else {
  await Promise.all(Array.from({ length: job.clients }, comeBack));
  console.log(JSON.stringify({ sessions, resumed, seconds: (performance.now() - start) / 1000 }));
}

async function comeBack(): Promise<void> {
  let session: Buffer | undefined;
  do {
    const socket = await connect(job, { ...versions, ...(session && { session }) });
    if (job.resumes) {
      // Until TLS 1.2 the session is there when the handshake is over; in TLS 1.3 tickets follow.
      if (socket.getProtocol() !== "TLSv1.3") session = socket.getSession();
      socket.on("session", (given) => {
        session = given;
      });
    }
    if (socket.isSessionReused()) resumed += 1;
    const answer = await ask(socket, "/small");
    if (!answer.startsWith("HTTP/1.1 200")) throw new Error(`A request was answered "${answer.split("\r")[0]}"`);
    sessions += 1;
  } while (performance.now() < start + job.seconds * 1000);
}

async function show(): Promise<string> {
  const socket = await connect(job, versions);
  const { asn1Curve, bits, issuer } = socket.getPeerCertificate();
  const group = (socket.getEphemeralKeyInfo() as { name?: string }).name;
  const near = `${socket.getProtocol()}, ${socket.getCipher().name}, ${group}`;
  const key = asn1Curve ?? `RSA ${bits}`;
  const far = (await ask(socket, "/seen")).split("\r\n\r\n")[1];
  return `${near}, ${key} of ${[issuer.CN].flat()[0]} | ${far}`;
}

/** Resolves with the answer, once the connection has closed. */
async function ask(socket: TLSSocket, path: string): Promise<string> {
  const closed = once(socket, "close");
  socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost:${job.target.port}\r\nConnection: close\r\n\r\n`);
  let answer = "";
  socket.on("data", (bytes: Buffer) => (answer += bytes.toString("latin1")));
  socket.once("end", () => socket.end());
  await closed;
  return answer;
}
