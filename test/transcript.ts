import assert from "node:assert/strict";
import fc from "fast-check";
import type { Agreement, Dialogue } from "../src/detect/starttls/dialogue.ts";
import { PeerError } from "../src/errors.ts";
import type { Side } from "../src/vocabulary.ts";

/** A dialogue in order: "> " lines are the client's, "< " lines the server's, each ending with CR LF. Buffers are sent unchanged. */
export type Transcript = readonly (string | readonly [side: Side, bytes: Buffer])[];

/** The outcome of a transcript. */
export interface Outcome {
  readonly kind: "more" | "no" | "upgrade" | "broken";
  /** The offset in bytes at which the dialogue was decided. */
  readonly at?: number;
  readonly agreement?: Agreement;
  /** Why it is broken. */
  readonly message?: string;
  readonly side?: Side | undefined;
  readonly answers: number;
  readonly offered: boolean | undefined;
  readonly refused: boolean;
}

/** Feeds a transcript to a dialogue, in pieces of these sizes in turn, or line by line without sizes. Stops at its answer. */
export function play(dialogue: Dialogue, transcript: Transcript, sizes: readonly number[] = []): Outcome {
  const known = () => ({ answers: dialogue.answers, offered: dialogue.offered, refused: dialogue.refused });
  let passed = 0;
  let piece = 0;
  for (const [side, bytes] of transcript.map(turnOf)) {
    for (let at = 0; at < bytes.length; ) {
      const size = sizes.length > 0 ? sizes[piece++ % sizes.length]! : bytes.length;
      const part = bytes.subarray(at, at + size);
      try {
        const progress = dialogue.feed(side, part);
        if (progress.kind === "no") return { kind: "no", ...known() };
        if (progress.kind === "upgrade") {
          return { kind: "upgrade", at: passed + progress.at, agreement: progress.agreement, ...known() };
        }
      } catch (error) {
        assert.ok(error instanceof PeerError, String(error));
        return { kind: "broken", message: error.message, side: error.side, ...known() };
      }
      at += part.length;
      passed += part.length;
    }
  }
  return { kind: "more", ...known() };
}

/** Asserts that the outcome is the same however the bytes are cut, also byte by byte. */
export function assertCutAnywhere(open: () => Dialogue, transcript: Transcript): void {
  const { agreement, ...whole } = play(open(), transcript);
  const same = (sizes: readonly number[]) => {
    const { agreement: cut, ...rest } = play(open(), transcript, sizes);
    assert.deepEqual(rest, whole);
    assert.deepEqual(cut?.script, agreement?.script);
  };
  same([1]);
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 }), same));
}

/** Asserts that the transcript's parts in any order, with random bytes between them, give an answer or a PeerError. */
export function assertAnswersAnything(open: () => Dialogue, transcript: Transcript): void {
  const own = transcript.map(turnOf).map(([, bytes]) => bytes);
  const noise = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes));
  const part = fc.tuple(fc.constantFrom<Side>("client", "server"), fc.oneof(fc.constantFrom(...own), noise));
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), fc.integer({ min: 1, max: 30 }), (parts, size) => {
      // `play` rethrows every error that is not a PeerError.
      const { kind } = play(open(), parts, [size]);
      assert.ok(["more", "no", "upgrade", "broken"].includes(kind));
    }),
  );
}

function turnOf(turn: Transcript[number]): [Side, Buffer] {
  if (typeof turn !== "string") return [turn[0], turn[1]];
  return [turn.startsWith(">") ? "client" : "server", Buffer.from(`${turn.slice(2)}\r\n`, "latin1")];
}
