import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import type { End, Gate, Replaced } from "./end.ts";
import { BROKEN, END, RESET, TRUNCATED } from "./layer.ts";
import { SCRATCH, type Task } from "./loop.ts";
import { Quiet } from "./quiet.ts";
import { Splice } from "./splice.ts";

/** Sees what passes, in order. `bytes` is a view of the engine's scratch memory: whoever keeps it copies it. */
export interface Tap {
  data(from: Side, bytes: Uint8Array): void;
  /** `isCut`: its TLS ended without close_notify, or a tool ended it by itself, so what it said may not be whole. */
  end(from: Side, isCut: boolean): void;
  reset(from: Side): void;
  /** When it can take more; undefined: now. */
  pressure(): Promise<void> | undefined;
}

/** Bytes from and to each side, counted while they pass. Tools in between may change how many there are. */
export interface Meter {
  fromClient: number;
  fromServer: number;
  toClient: number;
  toServer: number;
  /** When the server's first byte was moved, in ms since the epoch. */
  firstByte?: number;
}

/** Takes off what stands in front of a side's bytes and is not the session's. */
export interface Sieve {
  /** What is left of these bytes; it may keep some until it knows. */
  take(bytes: Buffer): Buffer;
  /** This side has ended: what was kept. */
  end(): Buffer;
}

/** How a relay ended. */
export interface RelayEnding {
  /** One sentence for people and the record. */
  readonly reason: string;
  readonly clientLeft: "closed" | "reset" | null;
  readonly serverLeft: "closed" | "reset" | null;
  /** Who ended its direction first, when nothing broke before. */
  readonly first: Side | undefined;
  /** Whose connection broke, and the code; undefined: none did. `alert`: the fatal alert that the peer sent. */
  readonly failure: { readonly side: Side; readonly code: string; readonly alert: number | undefined } | undefined;
  /** The code of what ended it although neither peer did: "EIDLE", "EMFILE", "ETOOL"…; undefined: a peer ended it. */
  readonly cut?: string | undefined;
}

export interface RelayOptions {
  readonly meter: Meter;
  readonly taps: readonly Tap[];
  /** ms without a byte in either direction. */
  readonly idle: number;
  /** Whether the answer to a keepalive of one of them counts too. Absent: bytes alone. */
  readonly idleCounts?: IdleCounts;
  /** What the two ends are called when one of them is to blame. */
  readonly parties?: Readonly<Record<Side, string>>;
  readonly sieves?: Partial<Record<Side, Sieve>>;
  /** Sides whose TLS ended without close_notify: the stretches of a way through tools share it, for what is between them has no TLS. */
  readonly truncated?: Set<Side>;
  /** Asked when a side ends. Undefined: its end may be passed on now, as it is. */
  readonly early?: (side: Side) => HeldEnd | undefined;
  /** As the constant; tests set it. */
  readonly plenty?: number;
}

/** An end that has to wait. */
export interface HeldEnd {
  /** When it may be passed on. */
  readonly until: Promise<void>;
  /** It is not that of the peer whose bytes came, and counts as one without close_notify. */
  readonly isEarly: boolean;
}

export type IdleCounts = "bytes" | "keepalives";

const PEERS: Readonly<Record<Side, string>> = { client: "The client", server: "The server" };

/** What is moved at a time where taps look on, in bytes: seven of TLS's largest records fill two packets of a feed, eight would need a third. */
const TAPPED = 112 * 1024;

/** What a gate has not let pass is taken off the socket from this length on, in bytes. */
const PEEKED = 32 * 1024;

/** From so many bytes on a direction has the kernel move them: a pipe costs more than a few small messages. */
const PLENTY = 256 * 1024;

/** One direction. */
interface Direction {
  readonly side: Side;
  readonly from: End;
  readonly to: End;
  readonly sieve: Sieve | undefined;
  /** "ending": the peer has ended, and what it said before may wait to be sent. */
  state: "open" | "ending" | "over";
  /** Taps that cannot take more now, and an early end that has to wait. */
  held: number;
  /** Its end is a tool's own. */
  isEarly: boolean;
  /** Bytes that have passed; urgent ones do not count. */
  passed: number;
  /** Moves bytes inside of the kernel; undefined: somebody looks at them. */
  splice: Splice | undefined;
  /** Nobody of the relay's looks at them: the kernel may move them once no gate and no layer does. */
  isOpaque: boolean;
}

/**
 * Carries bytes between two ends until both have left: with backpressure, half-closes and resets carried across, and a
 * missing close_notify wherever both sides have TLS. When one side breaks, the other is reset, because ending it would make a broken stream look complete. Both ends are closed
 * when it resolves. It rejects with a bug of ours, in a tap for example, after both ends have been reset.
 */
export function relay(client: End, server: End, options: RelayOptions): Promise<RelayEnding> {
  return new Promise((resolve, reject) => {
    new Relay(client, server, options, { resolve, reject }).start();
  });
}

interface Outcome {
  resolve(ending: RelayEnding): void;
  reject(error: unknown): void;
}

class Relay implements Task {
  queued = false;
  readonly #up: Direction;
  readonly #down: Direction;
  readonly #options: RelayOptions;
  readonly #outcome: Outcome;
  readonly #left: Record<Side, "closed" | "reset" | null> = { client: null, server: null };
  /** Made when there is one. */
  #truncated: Set<Side> | undefined;
  #first: Side | undefined;
  #isOver = false;
  #lastByte = performance.now();
  /** The last byte, or the last keepalive of one peer that the other answered. */
  #lastSign = this.#lastByte;
  readonly #quiet: Quiet;
  /** What one direction may move before others have their turn, in bytes. */
  readonly #budget: number;

  constructor(client: End, server: End, options: RelayOptions, outcome: Outcome) {
    const { taps, sieves } = options;
    const isOpaque = taps.length === 0 && !sieves;
    const direction = (side: Side, from: End, to: End): Direction => ({
      side,
      from,
      to,
      sieve: sieves?.[side],
      state: "open",
      held: 0,
      isEarly: false,
      passed: 0,
      splice: undefined,
      isOpaque,
    });
    this.#up = direction("client", client, server);
    this.#down = direction("server", server, client);
    this.#options = options;
    this.#budget = taps.length > 0 ? TAPPED : SCRATCH;
    this.#truncated = options.truncated;
    this.#outcome = outcome;
    this.#quiet = new Quiet(client, server, options.idle);
  }

  start(): void {
    const { from: client, to: server } = this.#up;
    client.relay = server.relay = this;
    client.onLeave = server.onLeave = undefined;
    watchIdle(this);
    client.loop.enqueue(this);
  }

  run(): boolean {
    if (this.#isOver) return false;
    // A peer that has left answers what it still gets with a RST: what the other side has said by now, its end perhaps, counts first.
    const [first, second] = this.#up.state === "over" ? [this.#down, this.#up] : [this.#up, this.#down];
    const more = this.#move(first);
    if (this.#isOver) return false;
    const moreOfSecond = this.#move(second);
    return !this.#isOver && (more || moreOfSecond);
  }

  /** An end was closed by somebody else, or a bug of ours. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    if (error instanceof NetworkError) {
      this.#abort(error.message, undefined, error.code);
      return;
    }
    this.#giveUp(error);
  }

  /** A bug of ours: the story reports it, and only this session is over. */
  #giveUp(error: unknown): void {
    if (this.#isOver) return;
    this.#stop();
    this.#up.from.reset();
    this.#up.to.reset();
    this.#outcome.reject(error);
  }

  /** Carries keepalives, and ends it when nothing has passed for the idle time. `now`: performance.now(). */
  expire(now: number): void {
    const { idle, idleCounts = "bytes" } = this.#options;
    const answered = this.#quiet.look(now, this.#lastByte);
    if (answered && idleCounts === "keepalives") this.#lastSign = now;
    if (now - Math.max(this.#lastByte, this.#lastSign) >= idle)
      this.#abort(`Nothing passed for ${idle / 1000} s`, undefined, "EIDLE");
  }

  /** Moves what can be moved in one direction. True: there is more. */
  #move(direction: Direction): boolean {
    const { from, to } = direction;
    if (direction.state === "over") {
      // Its direction has ended, but a RST still counts.
      if (from.isReset) this.#abort(undefined, { side: direction.side, code: "ECONNRESET", alert: undefined });
      return false;
    }
    for (let budget = this.#budget; ; ) {
      if (to.held === "reads and writes") return false;
      // When the receiver is broken, no event need follow that says so.
      if ((!to.flush() || direction.splice?.flush() === false) && !to.isBroken) return rest(direction);
      if (to.isBroken) return this.#abort(undefined, { side: other(direction.side), code: "EPIPE", alert: undefined });
      if (direction.state === "ending") return direction.held === 0 && this.#end(direction);
      from.tellArrivals(true);
      if (direction.held > 0 || from.held !== "nothing" || !from.readable) return false;
      if (budget <= 0) return true;
      const came = this.#carry(direction);
      if (this.#isOver) return false;
      budget -= came;
      if (came > 0) this.#lastByte = performance.now();
      else if (direction.state === "open") return false;
    }
  }

  #carry(direction: Direction): number {
    const { from, to } = direction;
    const { plenty = PLENTY } = this.#options;
    const isDue = direction.isOpaque && !direction.splice && direction.passed >= plenty;
    if (isDue && isBare(from) && isBare(to)) direction.splice = new Splice(from, to);
    const { splice } = direction;
    if (splice) {
      const moved = this.#spliced(direction, splice);
      if (moved > 0 || !from.hasUrgent || direction.state !== "open") return moved;
      // The kernel does not splice past an urgent byte.
      splice.free();
      direction.splice = undefined;
      direction.isOpaque = false;
    }
    return from.gate && from.ungated === 0 && !from.isLayered && !from.hasUnread && !from.hasUrgent
      ? this.#peeked(direction, from.gate)
      : this.#copied(direction);
  }

  /** What does not pass the gate stays in the socket, where TLS can begin with it. */
  #peeked(direction: Direction, gate: Gate): number {
    const { from } = direction;
    let bytes: Buffer | undefined;
    try {
      bytes = from.peek();
    } catch {
      // The peer has ended, or the connection is broken: reading says which.
      return this.#copied(direction);
    }
    if (!bytes) {
      from.readable = false;
      return 0;
    }
    // Looked at after the bytes: it may come at any time, and ends them.
    if (from.isAtUrgent()) return this.#copied(direction);
    const passed = gate(bytes, from.hasLeft && bytes.length < SCRATCH);
    if (typeof passed === "object") {
      from.consume(passed.drop);
      from.unread(passed.by);
      return passed.drop;
    }
    // The kernel holds few bytes for a connection that nobody reads.
    if (passed === 0 && from.held === "nothing" && bytes.length >= PEEKED) {
      const kept = Buffer.from(bytes);
      from.consume(kept.length);
      from.unread(kept);
    }
    from.consume(passed);
    if (passed > 0) this.#deliver(direction, from.loop.scratchAt, bytes.subarray(0, passed));
    return passed;
  }

  /** Reads one scratch full, shows it to the taps and writes it. Answers how many bytes came. */
  #copied(direction: Direction): number {
    const { from, side, sieve } = direction;
    const { scratch, scratchAt } = from.loop;
    const { ungated } = from;
    const keepsMark = mayBeUrgent(from);
    // In front of all others it would have hidden the beginning of TLS from whoever judged the first bytes, but not from the receiver.
    const isUrgent = keepsMark && direction.passed > 0 && from.isAtUrgent();
    const room = isUrgent ? 1 : Math.min(this.#budget, ungated || SCRATCH);
    let length = 0;
    let last = 1;
    let isMarked = isUrgent;
    while (length < room && from.readable) {
      isMarked ||= keepsMark && length > 0 && from.isAtUrgent();
      if (isMarked && !isUrgent) break;
      last = from.read(scratchAt + length, room - length);
      if (last <= 0) break;
      length += last;
    }
    const came = length;
    if (length > 0 && ungated === 0 && from.gate) {
      const passed = gated(from, from.gate, scratch.subarray(0, length), last === END || last === TRUNCATED);
      if (typeof passed === "object") return passed.drop;
      // What waits for more goes on with what is behind the mark, and the mark is lost: no event would tell of that.
      if (passed === 0 && isMarked && from.held === "nothing") return this.#copied(direction);
      length = passed;
    }
    if (length > 0) this.#deliver(direction, scratchAt, scratch.subarray(0, length), isUrgent && !from.isUnmarked);
    if (ungated > 0) countUngated(from, came);
    if (last >= 0 || from.held !== "nothing") return length;
    if (last === END || last === TRUNCATED) {
      const kept = sieve?.end();
      if (kept) this.#sift(direction, kept);
      this.#hasEnded(direction, last === TRUNCATED);
    } else {
      const failure = last === BROKEN ? from.layer?.failure : undefined;
      const alert = failure?.cause === "alert" ? failure.alert : undefined;
      this.#abort(undefined, { side, code: failure?.code ?? "ECONNRESET", alert });
    }
    return length;
  }

  #deliver(direction: Direction, at: number, bytes: Buffer, isUrgent = false): void {
    const { sieve } = direction;
    if (sieve) this.#sift(direction, sieve.take(Buffer.from(bytes)), isUrgent);
    else this.#pass(direction, at, bytes, isUrgent);
  }

  /** Bytes that are not in the scratch memory. */
  #sift(direction: Direction, bytes: Buffer, isUrgent = false): void {
    for (let at = 0; at < bytes.length; at += SCRATCH) {
      const piece = bytes.subarray(at, at + SCRATCH);
      const { scratch, scratchAt } = direction.from.loop;
      piece.copy(scratch);
      this.#pass(direction, scratchAt, scratch.subarray(0, piece.length), isUrgent && bytes.length === 1);
    }
  }

  #pass(direction: Direction, at: number, bytes: Buffer, isUrgent: boolean): void {
    const { side, to } = direction;
    this.#count(side, bytes.length);
    for (const tap of this.#options.taps) {
      tap.data(side, bytes);
      const pressure = tap.pressure();
      if (pressure) this.#hold(direction, pressure);
    }
    if (isUrgent) {
      to.writeUrgent(at);
      return;
    }
    direction.passed += bytes.length;
    to.write(at, bytes.length);
  }

  #spliced(direction: Direction, splice: Splice): number {
    const moved = splice.move();
    if (moved > 0) {
      direction.passed += moved;
      this.#count(direction.side, moved);
    }
    if (moved === END) this.#hasEnded(direction, false);
    else if (moved === RESET) {
      this.#abort(undefined, { side: direction.side, code: "ECONNRESET", alert: undefined });
    }
    return Math.max(moved, 0);
  }

  #count(side: Side, length: number): void {
    const { meter } = this.#options;
    if (side === "client") {
      meter.fromClient += length;
      meter.toServer += length;
    } else {
      if (meter.fromServer === 0) meter.firstByte = Date.now();
      meter.fromServer += length;
      meter.toClient += length;
    }
  }

  /** A tap that is full holds the reader back, and the reader's TCP window the peer. */
  #hold(direction: Direction, pressure: Promise<void>): void {
    direction.held += 1;
    void pressure.then(() => {
      direction.held -= 1;
      if (!this.#isOver) direction.from.loop.enqueue(this);
    });
  }

  #hasEnded(direction: Direction, isTruncated: boolean): void {
    const { side } = direction;
    direction.state = "ending";
    const early = this.#options.early?.(side);
    if (early !== undefined) {
      direction.isEarly = early.isEarly;
      this.#hold(direction, early.until);
    }
    if (isTruncated) this.#truncated = (this.#truncated ?? new Set()).add(side);
    this.#first ??= side;
    this.#left[side] = "closed";
    const isCut = direction.isEarly || this.#truncated?.has(side) === true;
    const tell = () => {
      if (!this.#isOver) for (const tap of this.#options.taps) tap.end(side, isCut);
    };
    if (early && !early.isEarly) early.until.then(tell).catch((error: unknown) => this.#giveUp(error));
    else tell();
  }

  /** What came before has been sent: the other side is told of the end. */
  #end(direction: Direction): boolean {
    const { to } = direction;
    // A FIN alone ends the other side's TLS as this side's was ended.
    const isWhole = !direction.isEarly && !this.#truncated?.has(direction.side);
    if (isWhole && !to.finish()) return false;
    to.fin();
    direction.state = "over";
    if (this.#up.state === "over" && this.#down.state === "over") this.#close();
    return false;
  }

  /** `cut`: the code, where no peer's connection has failed. */
  #abort(reason: string | undefined, failure: RelayEnding["failure"], cut?: string): false {
    if (this.#isOver) return false;
    const own = failure && (failure.side === "client" ? this.#up : this.#down).from.closedFor;
    if (own) return this.#abort(own.message, undefined, own.code);
    if (failure && isReset(failure.code)) this.#left[failure.side] = "reset";
    // Where the node itself gives the session up, what the server said may not be whole either.
    try {
      for (const tap of this.#options.taps) tap.reset(failure?.side ?? "server");
    } catch (error) {
      // Whoever ends the session, for its idle time say, has others to look after.
      this.#giveUp(error);
      return false;
    }
    this.#settle(reason ?? this.#blame(failure?.side ?? "client", failure?.code ?? ""), failure, cut);
    this.#up.from.reset();
    this.#up.to.reset();
    return false;
  }

  #blame(side: Side, code: string): string {
    const { parties = PEERS } = this.#options;
    if (isReset(code)) return `${parties[side]} reset the connection`;
    return `${parties[side]}'s connection broke: ${code}`;
  }

  #close(): void {
    const { parties = PEERS } = this.#options;
    const first = this.#first!;
    const how = this.#truncated?.has(first) ? "ended the connection without close_notify" : "closed the connection";
    this.#settle(`${parties[first]} ${how}`, undefined);
    this.#up.from.close();
    this.#up.to.close();
  }

  #stop(): void {
    this.#isOver = true;
    unwatchIdle(this);
    // Nobody is told that an end is closed: the error would cost as much as closing it.
    for (const end of [this.#up.from, this.#up.to]) if (end.relay === this) end.relay = undefined;
    this.#up.splice?.free();
    this.#down.splice?.free();
  }

  #settle(reason: string, failure: RelayEnding["failure"], cut?: string): void {
    this.#stop();
    const { client, server } = this.#left;
    this.#outcome.resolve({
      reason,
      clientLeft: client,
      serverLeft: server,
      first: this.#first,
      failure,
      ...(cut && { cut }),
    });
  }
}

/**
 * The receiver takes no more now, and tells when it does: until then nobody needs to know what else the sender has sent, and the kernel
 * would tell of each segment. Where bytes are copied it takes too little at a time for that to pay, and an urgent byte must be known before
 * what is behind it is read.
 */
function rest({ from, splice }: Direction): false {
  if (splice) from.tellArrivals(false);
  return false;
}

/** All that it carries is in its socket, and nobody looks at it. A connection that goes on as another end has none. */
function isBare(end: End): boolean {
  return end.isOpen && !end.isLayered && !end.gate && !end.hasUnread;
}

/** An urgent byte is carried as one, unless it stands among bytes that are judged together. */
function mayBeUrgent(from: End): boolean {
  const isAmong = from.isUnmarked || from.ungated > 0 || (from.gate !== undefined && from.hasUnread);
  return from.hasUrgent && !from.isLayered && !isAmong;
}

/** How many of these bytes pass the end's gate; the others go back to the end, with those that take the place of the first. */
function gated(from: End, gate: Gate, bytes: Buffer, isLast: boolean): number | Replaced {
  const passed = gate(bytes, isLast);
  if (typeof passed === "object") from.unread(Buffer.concat([passed.by, bytes.subarray(passed.drop)]));
  else if (passed < bytes.length) from.unread(Buffer.from(bytes.subarray(passed)));
  return passed;
}

function countUngated(from: End, length: number): void {
  from.ungated -= length;
  if (from.ungated === 0) from.onUngated?.();
}

/** A write that fails says that the peer has reset the connection before. */
function isReset(code: string): boolean {
  return code === "ECONNRESET" || code === "EPIPE";
}

function other(side: Side): Side {
  return side === "client" ? "server" : "client";
}

/** ms between two looks at who has been idle for too long. */
const IDLE_LOOK = 1_000;
const relays = new Set<Relay>();
let idleTimer: NodeJS.Timeout | undefined;

/** One timer for all relays: a timer for each would have to be moved with every byte. */
function watchIdle(one: Relay): void {
  relays.add(one);
  idleTimer ??= setInterval(() => {
    const now = performance.now();
    for (const each of relays) each.expire(now);
  }, IDLE_LOOK).unref();
}

function unwatchIdle(one: Relay): void {
  relays.delete(one);
  if (relays.size > 0) return;
  clearInterval(idleTimer);
  idleTimer = undefined;
}
