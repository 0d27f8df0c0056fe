import type { Side } from "../../vocabulary.ts";
import { ENOUGH, findHandshake, TELLING } from "../../wire/handshake-search.ts";
import type { Agreement } from "./dialogue.ts";
import type { Watch } from "./dialogues.ts";

/** TLS that began without an agreement that was understood. */
export interface FoundTls {
  /** Who sent it, and what it is: a server may send a ClientHello, too. */
  readonly side: Side;
  readonly hello: "client" | "server";
  /** Its first bytes, which have passed already. Empty: none has. */
  readonly begun: Buffer;
}

/** What may pass of the bytes just given. */
export type SearchProgress =
  /** `at` bytes pass; the others are to be given again with more. `telling`: they look very much like TLS. */
  | { readonly kind: "more"; readonly at: number; readonly telling: boolean }
  /** The same: no dialogue understands the conversation, or it can no longer become TLS as the dialogue has it. Told once. */
  | { readonly kind: "plain"; readonly at: number }
  | { readonly kind: "upgrade"; readonly at: number; readonly agreement: Agreement }
  /** TLS begins at `at`. */
  | { readonly kind: "tls"; readonly at: number; readonly found: FoundTls };

/**
 * Looks for TLS in a conversation that began in plaintext: by its dialogue, which protects against injection and can be repeated,
 * and by the first bytes of TLS themselves, whatever came before them and whoever sends them. It never ends: a dialogue that is not
 * understood is no reason to look away.
 */
export class TlsSearch {
  readonly watch: Watch;
  readonly #strict: boolean;
  #followed = true;
  /** The last bytes of each side that have passed: only so many that TLS may have begun with them. */
  readonly #passed: Record<Side, Buffer> = { client: NOTHING, server: NOTHING };
  readonly #within: Record<Side, boolean> = { client: false, server: false };
  #speaker: Side | undefined;

  /** `strict`: what is not on the way to TLS does not pass. */
  constructor(watch: Watch, strict = false) {
    this.watch = watch;
    this.#strict = strict;
  }

  /** `mayWait`: bytes that may begin TLS are kept until there are more. Throws PeerError where the dialogue is broken. */
  feed(side: Side, bytes: Buffer, mayWait: boolean): SearchProgress {
    const found = this.#find(side, bytes);
    this.#within[side] = found !== undefined;
    if (!found) return this.#pass(side, bytes, bytes.length);
    const cut = Math.max(0, found.at);
    if (found.hello === undefined) {
      const before = this.#passed[side];
      const progress = this.#pass(side, bytes, mayWait ? cut : bytes.length);
      // What passes now may turn out to be the beginning later.
      if (!mayWait) this.#passed[side] = Buffer.from(joined(before, bytes).subarray(-ENOUGH));
      return progress.kind === "more" ? { ...progress, telling: bytes.length - found.at >= TELLING } : progress;
    }
    const opensTurn = found.at === 0 && this.#speaker !== side;
    const progress = this.#pass(side, bytes, cut);
    if (progress.kind !== "more") return progress;
    // Data of a dialogue may be anything, and who must wait for an answer breaks the dialogue.
    const isBody = side === "client" && !opensTurn && this.#followed && this.watch.inBody;
    const breaksIn = side === "client" && this.#followed && this.watch.awaiting;
    if (isBody || breaksIn) return behind(this.#pass(side, bytes.subarray(cut), bytes.length - cut), cut);
    const begun = found.at < 0 ? Buffer.from(this.#passed[side].subarray(found.at)) : NOTHING;
    return { kind: "tls", at: cut, found: { side, hello: found.hello, begun } };
  }

  /** What this side said last may be the beginning of TLS. */
  isWithin(side: Side): boolean {
    return this.#within[side];
  }

  /** Negative places are in the bytes that have passed. */
  #find(side: Side, bytes: Buffer): { readonly at: number; readonly hello: FoundTls["hello"] | undefined } | undefined {
    const before = this.#passed[side];
    const across = before.length > 0 ? findHandshake(joined(before, bytes.subarray(0, ENOUGH))) : undefined;
    if (across && across.at < before.length) return { at: across.at - before.length, hello: across.hello };
    return findHandshake(bytes);
  }

  #pass(side: Side, bytes: Buffer, length: number): SearchProgress {
    const more = { kind: "more", at: length, telling: false } as const;
    if (length === 0 && bytes.length > 0) return more;
    const part = bytes.subarray(0, length);
    const progress = this.#followed ? this.watch.feed(side, part) : undefined;
    if (progress?.kind === "upgrade") return progress;
    const ends = progress?.kind === "no" || (this.#strict && this.#followed && this.watch.beyond);
    if (ends) this.#followed = false;
    if (ends && this.#strict) return { kind: "plain", at: 0 };
    if (length > 0) {
      this.#speaker = side;
      this.#passed[side] = Buffer.from(joined(this.#passed[side].subarray(-UNTOLD), part).subarray(-UNTOLD));
    }
    return ends ? { kind: "plain", at: length } : more;
  }
}

const NOTHING = Buffer.alloc(0);
/** An SSLv2-format hello is not told by fewer bytes than these and one more. */
const UNTOLD = 3;

function joined(before: Buffer, bytes: Buffer): Buffer {
  return before.length > 0 ? Buffer.concat([before, bytes]) : bytes;
}

/** The progress of bytes that stand so far behind the others. */
function behind(progress: SearchProgress, length: number): SearchProgress {
  return { ...progress, at: progress.at + length };
}
