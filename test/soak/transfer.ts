import { createHash, randomBytes, randomInt } from "node:crypto";
import type { End } from "../../src/engine/end.ts";
import { END } from "../../src/engine/layer.ts";
import { readBytes, readToEnd, writeAll } from "../../src/engine/test-ends.ts";

/** What the peers of a soak say to each other: the client's order, its bytes, their hash, the server's bytes, and an end of some kind. */

export const LONGEST = 64 * 1024;

/** What both peers know beforehand, of which every transfer is a part. */
export const noise = randomBytes(2 * LONGEST);

/** Who ends a session, and how. */
const ENDS = ["client ends", "server ends", "client kills", "server kills"] as const;

/** In front of each session's bytes. */
export interface Order {
  readonly up: number;
  readonly down: number;
  readonly end: (typeof ENDS)[number];
}

const ORDER = 12;

/** One session in four is killed. */
export function pickEnd(): Order["end"] {
  const [orderly, kill] = [randomInt(4) > 0, randomInt(2)];
  return ENDS[orderly ? kill : 2 + kill]!;
}

/** The server: reads its order, and does what it says. */
export async function answer(end: End): Promise<void> {
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

/** The client. Throws when something else comes than the order says. */
export async function converse(end: End, { up, down, end: ending }: Order): Promise<void> {
  const head = Buffer.alloc(ORDER);
  for (const [index, value] of [up, down, ENDS.indexOf(ending)].entries()) head.writeUInt32BE(value, index * 4);
  const sent = noise.subarray(down, down + up);
  await writeAll(end, Buffer.concat([head, sent.subarray(0, ending === "client kills" ? up >> 1 : up)]));
  if (ending === "client kills") return;
  if (ending === "server kills") {
    await readToEnd(end);
    return;
  }
  const { bytes: hash, last: early } = await readBytes(end, 32);
  if (hash.length < 32) throw new Error(`it ended with ${early} before the server's hash`);
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
