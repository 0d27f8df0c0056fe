import { once } from "node:events";
import { connect, isDecrypted, type Job, takeJob } from "./client.ts";

/**
 * A program whose clients come at a steady rate, whatever becomes of those before: `rate` new sessions a second, each with a small
 * request. It prints how long each waited for its answer, counted from when it was to begin, in ms; -1: it failed.
 */
interface Arrivals extends Job {
  readonly rate: number;
  readonly seconds: number;
}

const job = takeJob<Arrivals>();
const count = Math.round(job.rate * job.seconds);
const times = new Float64Array(count).fill(-1);
let decrypted = 0;
const begun = performance.now();
const due = (nth: number) => begun + (nth * 1000) / job.rate;
const running: Promise<void>[] = [];
while (running.length < count) {
  while (running.length < count && due(running.length) <= performance.now()) running.push(visit(running.length));
  await new Promise((resolve) => setTimeout(resolve, 2));
}
await Promise.all(running);
console.log(JSON.stringify({ decrypted, times: [...times].map((time) => Math.round(time * 10) / 10) }));

async function visit(nth: number): Promise<void> {
  try {
    const socket = await connect(job);
    socket.write(`GET /small HTTP/1.1\r\nHost: localhost:${job.target.port}\r\nConnection: close\r\n\r\n`);
    await once(socket, "data");
    times[nth] = performance.now() - due(nth);
    if (isDecrypted(socket)) decrypted += 1;
    socket.destroy();
  } catch {
    // It stays -1.
  }
}
