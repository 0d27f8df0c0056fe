import { join } from "node:path";
import type { Side } from "../vocabulary.ts";

/** What workers send the process of a feed of kind http: messages of a head and a payload, over a socket in the data folder. */

export const MESSAGES = {
  open: 1,
  client: 2,
  server: 3,
  endClient: 4,
  endServer: 5,
  resetClient: 6,
  resetServer: 7,
  close: 8,
  lost: 9,
  cutClient: 10,
  cutServer: 11,
} as const;

/** [payload's length, kind, the session's number on this link, time in ms since the epoch]. */
export const HEAD = 24;
/** The most bytes in one message. */
export const PAYLOAD = 256 * 1024;

export interface Message {
  readonly kind: number;
  readonly session: number;
  readonly time: number;
  readonly payload: Buffer;
}

export const DATA = { client: MESSAGES.client, server: MESSAGES.server } as const satisfies Record<Side, number>;
export const ENDS = { client: MESSAGES.endClient, server: MESSAGES.endServer } as const satisfies Record<Side, number>;
/** As ENDS, but what the side said may not be whole. */
export const CUTS = { client: MESSAGES.cutClient, server: MESSAGES.cutServer } as const satisfies Record<Side, number>;
export const RESETS = { client: MESSAGES.resetClient, server: MESSAGES.resetServer } as const satisfies Record<
  Side,
  number
>;

/** The socket of a feed's process. */
export function viewSocket(dataDir: string, feed: string): string {
  return join(dataDir, "feeds", `${feed}.view`);
}

export function writeHead(
  into: Buffer,
  at: number,
  { kind, session, time, length }: Omit<Message, "payload"> & { length: number },
) {
  into.writeUInt32LE(length, at);
  into.writeUInt32LE(kind, at + 4);
  into.writeUInt32LE(session, at + 8);
  into.writeUInt32LE(0, at + 12);
  into.writeDoubleLE(time, at + 16);
}

/**
 * Finds messages in what arrives, whole or in parts. The payload of data comes in the parts in which it arrived, and is lent. `refuse`
 * is called when the bytes are no messages.
 */
export function createMessageReader(take: (message: Message) => void, refuse: () => void): (bytes: Buffer) => void {
  let begun: Buffer = Buffer.alloc(0);
  let head: Omit<Message, "payload"> | undefined;
  /** Bytes of the payload that are still to come. */
  let left = 0;
  let isRefused = false;
  const takeHead = (bytes: Buffer): number => {
    const taken = Math.min(HEAD - begun.length, bytes.length);
    begun = Buffer.concat([begun, bytes.subarray(0, taken)]);
    if (begun.length < HEAD) return taken;
    left = begun.readUInt32LE(0);
    head = { kind: begun.readUInt32LE(4), session: begun.readUInt32LE(8), time: begun.readDoubleLE(16) };
    begun = Buffer.alloc(0);
    isRefused = left > PAYLOAD;
    if (isRefused) refuse();
    else if (left === 0) finish(NOTHING);
    return taken;
  };
  const takePayload = (bytes: Buffer): number => {
    const taken = Math.min(left, bytes.length);
    const piece = bytes.subarray(0, taken);
    left -= taken;
    if (head!.kind === DATA.client || head!.kind === DATA.server) {
      take({ ...head!, payload: piece });
      if (left === 0) head = undefined;
      return taken;
    }
    begun = Buffer.concat([begun, piece]);
    if (left === 0) finish(begun);
    return taken;
  };
  const finish = (payload: Buffer) => {
    const whole = { ...head!, payload };
    head = undefined;
    begun = Buffer.alloc(0);
    take(whole);
  };
  return (bytes) => {
    for (let at = 0; at < bytes.length && !isRefused; ) {
      at += head === undefined ? takeHead(bytes.subarray(at)) : takePayload(bytes.subarray(at));
    }
  };
}

const NOTHING = Buffer.alloc(0);
