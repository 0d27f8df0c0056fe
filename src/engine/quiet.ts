import type { End } from "./end.ts";
import { type Heard, probe, readHeard, rest } from "./keepalive.ts";

/** ms between two looks at a relay in which nothing passes, at most and at least: an eighth of the time for which it may be idle. */
const MOST = 10_000;
const LEAST = 2_000;

/** One peer, as it was at the last look. */
interface Peer {
  readonly end: End;
  /** Segments that had come from it; undefined: bytes have come since. */
  segments: number | undefined;
  /** performance.now() when it was sent the other's keepalive; undefined once it has answered. */
  probed: number | undefined;
  /** Its answers since the last look. */
  answers: number;
}

/**
 * Two peers of which neither says anything. The kernel answers their keepalives in the other's name, so they are carried: when one
 * sends a probe, the other is sent one.
 */
export class Quiet {
  readonly #one: Peer;
  readonly #other: Peer;
  readonly #pause: number;
  #next = 0;

  /** `idle`: ms. */
  constructor(one: End, other: End, idle: number) {
    this.#pause = Math.min(MOST, Math.max(LEAST, idle / 8));
    const peer = (end: End): Peer => ({ end, segments: undefined, probed: undefined, answers: 0 });
    [this.#one, this.#other] = [peer(one), peer(other)];
  }

  /** Called every second. True: a peer has answered the other's keepalive. `now`, `since`, when the last byte passed: performance.now(). */
  look(now: number, since: number): boolean {
    const peers = [this.#one, this.#other];
    // Before the kernel sends it another one.
    const answered = peers.map((peer) => hasAnswered(peer, now)).includes(true);
    const isQuiet = now - since >= this.#pause;
    if (!isQuiet) for (const peer of peers) peer.segments = undefined;
    if (!isQuiet || now < this.#next) return answered;
    this.#next = now + this.#pause;
    const [one, other] = [hear(this.#one), hear(this.#other)];
    if (!one || !other) return answered;
    // Both first: to send a probe changes nothing that is asked here.
    const [fromOne, fromOther] = [hasProbed(this.#one, one), hasProbed(this.#other, other)];
    if (fromOne) send(this.#other, other, now);
    if (fromOther) send(this.#one, one, now);
    return answered;
  }
}

function hear({ end }: Peer): Heard | undefined {
  return end.isOpen ? readHeard(end.fd) : undefined;
}

function hasAnswered(peer: Peer, now: number): boolean {
  if (peer.probed === undefined) return false;
  const heard = hear(peer);
  if (!heard || now - heard.acknowledged < peer.probed) return false;
  rest(peer.end.fd);
  peer.probed = undefined;
  peer.answers += 1;
  return true;
}

/** Where no bytes come, a segment that answers nothing is a probe. */
function hasProbed(peer: Peer, { segments }: Heard): boolean {
  const came = peer.segments === undefined ? 0 : segments - peer.segments;
  const has = came > peer.answers;
  peer.segments = segments;
  peer.answers = 0;
  return has;
}

function send(peer: Peer, heard: Heard, now: number): void {
  if (probe(peer.end.fd, heard)) peer.probed ??= now;
}
