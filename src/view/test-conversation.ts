import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { setImmediate } from "node:timers/promises";
import type { FeedSession } from "../feeds/feed.ts";
import type { Side } from "../vocabulary.ts";
import { SessionReader } from "./reader.ts";
import { Collector, type Detail, type Transaction } from "./transaction.ts";

/** For tests: what a real client and a real server say to each other, and what the view makes of it. */

export type Said = readonly [from: Side, bytes: Buffer];

export const SESSION: FeedSession = {
  id: "01JDEMO",
  client: { address: "192.0.2.10", port: 50123 },
  server: { address: "198.51.100.20", port: 443 },
  host: "www.example.com",
  flow: "decrypted",
  rule: "default",
  description: "TLSv1.3",
};

/** Has `talk` connect to a port behind which the server is, and records what passes. */
export async function record(server: Server, talk: (port: number) => Promise<void>): Promise<Said[]> {
  const said: Said[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket) => sockets.add(socket.on("error", () => {}));
  server.on("connection", keep);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const middle = createServer((client) => {
    const onward = connect((server.address() as AddressInfo).port, "127.0.0.1");
    keep(client);
    keep(onward);
    client.on("data", (bytes: Buffer) => said.push(["client", bytes])).pipe(onward);
    onward.on("data", (bytes: Buffer) => said.push(["server", bytes])).pipe(client);
  });
  middle.listen(0, "127.0.0.1");
  await once(middle, "listening");
  try {
    await talk((middle.address() as AddressInfo).port);
  } finally {
    middle.close();
    server.close();
    for (const socket of sockets) socket.destroy();
  }
  return said;
}

export interface Read {
  readonly transactions: readonly Transaction[];
  readonly details: readonly Detail[];
  /** Why it was read no further. */
  readonly stopped: string | undefined;
  readonly reading: SessionReader["reading"];
  /** The most that the reader held. */
  readonly weight: number;
}

/** Reads a whole session. `now` rises with each piece. */
export async function readAll(said: Iterable<Said>, body = 1024 * 1024): Promise<Read> {
  const done: [Transaction, Detail][] = [];
  const keeping = { heads: true, body, total: 16 * 1024 * 1024 };
  const collector = new Collector(SESSION, keeping, { open: 0 }, (...one) => done.push(one));
  const reader = new SessionReader(collector);
  let weight = 0;
  for (const [from, bytes] of said) {
    collector.now += 1;
    reader.push(from, bytes);
    weight = Math.max(weight, reader.weight);
    // As from a socket: what is told later is told between.
    if (collector.now % 32 === 0) await setImmediate();
  }
  for (const side of ["client", "server"] as const) reader.end(side, false);
  const { reading } = reader;
  await reader.close();
  collector.close("the session ended first");
  done.sort(([one], [other]) => one.number - other.number);
  return {
    transactions: done.map(([transaction]) => transaction),
    details: done.map(([, detail]) => detail),
    ...{ stopped: collector.stopped, reading, weight },
  };
}

/** The same bytes, one at a time. */
export function byteByByte(said: readonly Said[]): Said[] {
  return said.flatMap(([from, bytes]) => [...bytes].map((byte): Said => [from, Buffer.from([byte])]));
}

export function client(text: string): Said {
  return ["client", Buffer.from(text, "latin1")];
}

export function server(text: string): Said {
  return ["server", Buffer.from(text, "latin1")];
}

/** A frame of HTTP/2. */
export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}
