import { setTimeout } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { connect, type Job, takeJob } from "./client.ts";

/** A program that sends small requests on open sessions for some seconds, and prints how many ms each answer took. */
interface Requests extends Job {
  readonly sessions: number;
  readonly seconds: number;
  /** Requests a second, of all sessions together. Absent: each follows the answer to the one before. */
  readonly rate?: number;
  readonly delay?: number;
}

const BODY = 1000;
const WARM = 20;

const job = takeJob<Requests>();
const request = Buffer.from(`GET /small HTTP/1.1\r\nHost: localhost:${job.target.port}\r\n\r\n`);
const sockets = await Promise.all(Array.from({ length: job.sessions }, () => connect(job)));
for (const socket of sockets) for (let count = 0; count < WARM; count += 1) await ask(socket);
await setTimeout((job.delay ?? 0) * 1000);

const times: number[] = [];
const start = performance.now();
const end = start + job.seconds * 1000;
const interval = job.rate === undefined ? 0 : (job.sessions / job.rate) * 1000;
await Promise.all(sockets.map(repeat));
for (const socket of sockets) socket.destroy();
console.log(JSON.stringify(times.map((time) => Math.round(time * 1000) / 1000)));

async function repeat(socket: TLSSocket, index: number): Promise<void> {
  let due = start + (index / job.sessions) * interval;
  while (performance.now() < end) {
    const early = due - performance.now();
    if (early > 0) await setTimeout(early);
    times.push(await ask(socket));
    due += interval;
  }
}

/** The ms from the request to the last byte of the answer. */
function ask(socket: TLSSocket): Promise<number> {
  return new Promise((resolve, reject) => {
    const before = performance.now();
    let answer = "";
    const take = (bytes: Buffer) => {
      answer += bytes.toString("latin1");
      const head = answer.indexOf("\r\n\r\n");
      if (head < 0 || answer.length < head + 4 + BODY) return;
      socket.off("data", take).off("close", fail);
      resolve(performance.now() - before);
    };
    const fail = () => reject(new Error("A session ended between requests"));
    socket.on("data", take).once("close", fail);
    socket.write(request);
  });
}
