import crypto, { KeyObject } from "node:crypto";
import { syncBuiltinESMExports } from "node:module";

/**
 * A side with fixed randomness computes the same secrets for each input whose damage is elsewhere, and computing them costs far more than
 * reading the input. So `node:crypto` gives again the answers that it gave for the undamaged inputs; whatever else it is asked, it computes.
 */

type Mode = "off" | "learn" | "recall";
let mode: Mode = "off";

/** By function and arguments. */
const answers = new Map<string, unknown>();
const keyNumbers = new WeakMap<KeyObject, number>();
let keys = 0;

/** Keeps what is computed meanwhile. */
export function learn<T>(run: () => T): T {
  return during("learn", run);
}

/** Computes nothing again that was kept. */
export function recall<T>(run: () => T): T {
  return during("recall", run);
}

function during<T>(wanted: Mode, run: () => T): T {
  const before = mode;
  mode = wanted;
  try {
    return run();
  } finally {
    mode = before;
  }
}

function remembering<Args extends unknown[], Answer>(compute: (...args: Args) => Answer) {
  return (...args: Args): Answer => {
    if (mode === "off") return compute(...args);
    const question = `${compute.name} ${args.map(describe).join(" ")}`;
    const kept = answers.get(question) as Answer | undefined;
    if (kept !== undefined) return copyOf(kept);
    const answer = compute(...args);
    if (mode === "learn") answers.set(question, copyOf(answer));
    return answer;
  };
}

/** The reader of an answer may change its bytes. */
function copyOf<T>(answer: T): T {
  return Buffer.isBuffer(answer) ? (Buffer.from(answer) as T & Buffer) : answer;
}

function describe(value: unknown): string {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.length).toString("latin1");
  if (value instanceof KeyObject) return `key ${numberOf(value)}`;
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value)
    .map(([name, part]) => `${name}: ${describe(part)}`)
    .join(", ");
}

function numberOf(key: KeyObject): number {
  const known = keyNumbers.get(key);
  if (known !== undefined) return known;
  keys += 1;
  keyNumbers.set(key, keys);
  return keys;
}

// Only functions whose answer depends on nothing but their arguments: a signature of RSA has no randomness.
Object.assign(crypto, {
  privateDecrypt: remembering(crypto.privateDecrypt),
  publicEncrypt: remembering(crypto.publicEncrypt),
  createPrivateKey: remembering(crypto.createPrivateKey),
  createPublicKey: remembering(crypto.createPublicKey),
  diffieHellman: remembering(crypto.diffieHellman),
  sign: remembering(crypto.sign),
  verify: remembering(crypto.verify),
});
syncBuiltinESMExports();
