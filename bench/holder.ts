import { once } from "node:events";
import { connect, type Job, takeJob } from "./client.ts";

/** A program that opens sessions with one small request each, says "held", and keeps them until it is ended. */
interface Holding extends Job {
  readonly count: number;
  readonly clients: number;
}

const job = takeJob<Holding>();
let begun = 0;
await Promise.all(Array.from({ length: job.clients }, open));
console.log("held");

async function open(): Promise<void> {
  while (begun < job.count) {
    begun += 1;
    const nth = begun;
    const socket = await connect(job).catch((error: Error) => {
      throw new Error(`Session ${nth}: ${error.message}`);
    });
    socket.write(`GET /small HTTP/1.1\r\nHost: localhost:${job.target.port}\r\n\r\n`);
    await once(socket, "data");
  }
}
