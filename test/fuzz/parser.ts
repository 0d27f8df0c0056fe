import { PeerError } from "../../src/errors.ts";
import type { Side } from "../../src/vocabulary.ts";
import type { Dice } from "./damage.ts";

/** Something that reads bytes of strangers. It must answer a value or refuse with one of its errors, in time, and keep nothing. */
export interface Parser {
  readonly name: string;
  /** Whose bytes they are. */
  readonly of: string;
  /** Whole inputs, to which the damage is done. There is at least one. */
  readonly seeds: readonly Buffer[];
  /** Reads the bytes, and throws an AssertionError where the answer is wrong. `dice`: for whatever else is left to chance, as cuts. */
  readonly read: (bytes: Buffer, dice: Dice) => unknown;
  /** The errors with which it may refuse; PeerError when absent. */
  readonly refusals?: readonly (new (
    ...args: never[]
  ) => Error)[];
  /** Of the inputs of the others, it gets one in so many: it is slow. */
  readonly every?: number;
  /** How many inputs are read side by side, 1 when absent: more where reading waits for other threads. */
  readonly atOnce?: number;
}

export function refuses({ refusals = [PeerError] }: Parser, error: unknown): boolean {
  return refusals.some((kind) => error instanceof kind);
}

/** One side's bytes in a conversation. */
export type Turn = readonly [side: Side, bytes: Buffer];

/** A conversation as one input: for each turn a byte with the side, two with the length, and the bytes. */
export function conversation(...turns: readonly (Turn | string)[]): Buffer {
  return Buffer.concat(
    turns.map(turnOf).flatMap(([side, bytes]) => {
      const head = Buffer.alloc(HEAD);
      head.writeUInt8(side === "client" ? 0 : 1, 0);
      head.writeUInt16BE(bytes.length, 1);
      return [head, bytes];
    }),
  );
}

/** Any bytes are a conversation: the last turn has what is left. */
export function* turnsOf(input: Buffer): Generator<Turn> {
  for (let at = 0; at + HEAD <= input.length; ) {
    const end = at + HEAD + input.readUInt16BE(at + 1);
    yield [(input[at]! & 1) === 0 ? "client" : "server", input.subarray(at + HEAD, end)];
    at = end;
  }
}

const HEAD = 3;

/** "> " is the client's line, "< " the server's; each gets its CR LF. */
function turnOf(turn: Turn | string): Turn {
  if (typeof turn !== "string") return turn;
  return [turn.startsWith(">") ? "client" : "server", Buffer.from(`${turn.slice(2)}\r\n`, "latin1")];
}

/** The bytes in pieces of random sizes. */
export function* pieces(bytes: Buffer, dice: Dice): Generator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + dice(dice(4) === 0 ? 4 : bytes.length);
    yield bytes.subarray(at, at + size);
    at += size;
  }
}
