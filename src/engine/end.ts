import { InvariantError, NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { type Carrier, END, type Layer, NOTHING_NOW, RESET, type Wire } from "./layer.ts";
import { EPOLL, type Loop, SCRATCH, type Task, type Watched } from "./loop.ts";
import { addressOf, errno, libc, memory, must } from "./native.ts";
import { ADDRESS_SIZE, readSocketAddress, systemCode } from "./socket-address.ts";

/**
 * One TCP connection, and the layers that stand on it. It owns its descriptor and its layers: `close` and `reset` free all of
 * it, once, and may be called at any time. After that it reads as reset and takes no bytes.
 *
 * Whoever waits for a connection is its task: one at a time, because two readers of one stream are a bug.
 */

const MSG_OOB = 1;
const MSG_PEEK = 2;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_MORE = 0x8000;
const FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT;
const LAST_FLAGS = FLAGS | MSG_MORE;
const EAGAIN = 11;
const SHUT_WR = 1;
const F_DUPFD_CLOEXEC = 1030;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_OOBINLINE = 10;
const SO_LINGER = 13;
const ON = Buffer.from([1, 0, 0, 0]);
/** struct linger: on, and no time: close(2) sends a RST. */
const NO_LINGER = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
const LINGER = Buffer.alloc(8);

/** Bytes of the node's own that may wait for one peer: far more than it has to say to any that reads. */
const MOST_QUEUED = 16 * 1024 * 1024;

/** Ends that are open now: a metric, and what tests look at. */
let open = 0;
export function openEnds(): number {
  return open;
}

/**
 * Decides how many of the bytes that have come from an end pass on; the others stay with the end. Or it has others read in their
 * place. `isLast`: the peer has ended, and nothing follows.
 */
export type Gate = (bytes: Buffer, isLast: boolean) => number | Replaced;

/** The first `drop` bytes are dropped, and these are read instead of them. */
export interface Replaced {
  readonly drop: number;
  readonly by: Buffer;
}

export class End implements Omit<Wire, "finish">, Watched, Carrier {
  readonly loop: Loop;
  readonly fd: number;
  readonly generation: number;
  /** Who waits for something on this end: run when the end may be ready. Undefined: nobody. */
  task: Task | undefined;
  /** The relay that carries this end's bytes: run too. Somebody may wait for the first bytes of TLS while it still sends. */
  relay: Task | undefined;
  /** Told once when the peer leaves (a FIN or a RST) while nobody reads. */
  onLeave: (() => void) | undefined;
  /** What a relay shows its bytes to before they pass; undefined: they all pass. */
  gate: Gate | undefined;
  /** So many bytes pass the gate without being shown to it. The gate sets it, and `onUngated` is called once they have passed. */
  ungated = 0;
  onUngated: (() => void) | undefined;
  /** The last bytes are on their way (`farewell`): the end closes by itself. */
  isLeaving = false;
  /** What a relay leaves alone for a time, because somebody else does it. */
  held: "nothing" | "reads" | "reads and writes" = "nothing";
  /**
   * An urgent byte goes on as an ordinary one. Receivers may read an urgent byte beside the stream, and whoever judges what comes
   * around it has read it in the stream: the receiver must get what was judged.
   */
  isUnmarked = false;
  /** Called after each write with the bytes that were written since the beginning. */
  onWritten: ((total: number) => void) | undefined;
  /** There may be something to read: in the socket, or in a layer. */
  readable = true;
  /** There may be room to write. */
  writable = true;
  /** From the lowest to the topmost. Like `#closing` it is replaced, never pushed to, which would make room for 17. */
  #layers: readonly Layer[] = [];
  /** What carries the plaintext: the topmost layer, or the connection itself. */
  #top: Wire;
  #tcp: Tcp;
  #isOpen = true;
  #hasLeft = false;
  #isReset = false;
  #why: NetworkError | undefined;
  #hasEnded = false;
  #hasUrgent = false;
  /** What `writeBytes` has taken and the top has not. */
  readonly #queue: Buffer[] = [];
  #queued = 0;
  #closing: readonly (() => void)[] = [];
  /** The connection goes on without this end, by another descriptor. */
  #isDetached = false;
  /** It is closed with a RST. */
  #isCut = false;
  #written = 0;
  /** Layers that have said close_notify, from the top down. */
  #finished = 0;
  #unread: Unread | undefined;
  #isTold = true;

  constructor(loop: Loop, fd: number, generation: number) {
    this.loop = loop;
    this.fd = fd;
    this.generation = generation;
    this.#tcp = new Tcp(this);
    this.#top = this.#tcp;
  }

  /** Takes over a connected, connecting or listening socket that does not block. The end owns the descriptor from here on. */
  static adopt(loop: Loop, fd: number): End {
    // An urgent byte keeps its place in the stream: else recv(2) drops it.
    libc.setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, ON, ON.length);
    // When this process dies, the kernel resets its connections: with a FIN, what was cut short could look complete.
    libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, NO_LINGER, NO_LINGER.length);
    return End.adoptAccepted(loop, fd);
  }

  /** The same for a connection of a listener that was adopted: it has inherited the listener's options. */
  static adoptAccepted(loop: Loop, fd: number): End {
    let end: End | undefined;
    try {
      loop.watch(fd, (generation) => {
        end = new End(loop, fd, generation);
        return end;
      });
    } catch (error) {
      libc.close(fd);
      throw error;
    }
    open += 1;
    return end!;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get isBroken(): boolean {
    return this.#isOpen ? this.#tcp.isBroken || this.#top.isBroken : !this.#isDetached;
  }

  /** A layer stands on the connection: what is read and written is its plaintext. */
  get isLayered(): boolean {
    return this.#layers.length > 0;
  }

  /** The peer has sent its FIN or a RST; bytes may still wait in front of it. */
  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** The peer has sent a RST. */
  get isReset(): boolean {
    return this.#isReset;
  }

  /** The peer has been sent a FIN. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The peer has sent an urgent byte (RFC 9293, section 3.8.5). The kernel stops in front of it: a short read has not emptied the socket. */
  get hasUrgent(): boolean {
    return this.#hasUrgent;
  }

  /** The next byte in the socket is an urgent one. */
  isAtUrgent(): boolean {
    const isAt = this.#isOpen && libc.sockatmark(this.fd) === 1;
    // It may have come after the last event that was told.
    if (isAt) this.#hasUrgent = true;
    return isAt;
  }

  /** Bytes that were written since the beginning. */
  get written(): number {
    return this.#written;
  }

  /** Bytes were put back that have not been read again. */
  get hasUnread(): boolean {
    return this.#unread !== undefined;
  }

  get layer(): Layer | undefined {
    return this.#layers.at(-1);
  }

  /** The wire that the next layer stands on. Bytes that were put back are the first that the layer reads. */
  takeWire(): Wire {
    const unread = this.#unread;
    if (!unread) return this.#top;
    this.#unread = undefined;
    return new Reread(this.#top, unread);
  }

  /** Puts a layer on top; the end owns it from here on. Its wire came from `takeWire`. */
  push(layer: Layer): void {
    if (!this.#isOpen) {
      layer.free();
      throw this.#gone();
    }
    this.#layers = this.#layers.concat(layer);
    this.#top = layer;
  }

  /** This end's own address and the peer's. Undefined once the connection is closed. */
  local(): Endpoint | undefined {
    return this.#isOpen ? nameOf(this.fd, libc.getsockname) : undefined;
  }

  remote(): Endpoint | undefined {
    return this.#isOpen ? nameOf(this.fd, libc.getpeername) : undefined;
  }

  notice(events: number): void {
    if (events & (EPOLL.IN | EPOLL.RDHUP | EPOLL.HUP | EPOLL.ERR)) this.readable = true;
    if (events & (EPOLL.OUT | EPOLL.HUP | EPOLL.ERR)) this.writable = true;
    if (events & (EPOLL.RDHUP | EPOLL.HUP | EPOLL.ERR)) this.#hasLeft = true;
    if (events & EPOLL.ERR) this.#isReset = true;
    if (events & EPOLL.PRI) this.#hasUrgent = true;
    if (this.#queue.length > 0 && this.writable) this.flush();
    this.#wake();
    if (!this.#hasLeft) return;
    const { onLeave } = this;
    this.onLeave = undefined;
    onLeave?.();
  }

  /**
   * Whether the loop tells that bytes have come. A reader that cannot pass on what it has would be woken up by each segment, for nothing.
   * When it is told again, an event follows if there is something to read.
   */
  tellArrivals(tells: boolean): void {
    if (tells === this.#isTold || !this.#isOpen) return;
    this.#isTold = tells;
    this.loop.tellArrivals(this, tells);
  }

  /** A bug while an event was told: whoever waits for this end fails with it. */
  fail(error: unknown): void {
    this.#isCut = true;
    this.#close(error);
  }

  #wake(): void {
    if (this.task) this.loop.enqueue(this.task);
    if (this.relay) this.loop.enqueue(this.relay);
  }

  /**
   * The first bytes that wait on the TCP connection, at most SCRATCH of them; they stay where they are. Undefined: none yet.
   * The view is valid until the calling task returns. Throws NetworkError when the peer has left.
   */
  peek(): Buffer | undefined {
    const { scratch, scratchAt } = this.loop;
    if (!this.#isOpen) throw this.#gone();
    const length = libc.recv(this.fd, scratchAt, SCRATCH, MSG_PEEK | MSG_DONTWAIT);
    if (length > 0) return scratch.subarray(0, length);
    if (length === 0) throw new NetworkError("The peer closed the connection", "EOF");
    const code = errno();
    if (code === EAGAIN) return undefined;
    // The kernel tells it once.
    this.#isReset = true;
    throw new NetworkError("The connection broke", systemCode(code));
  }

  /** Takes bytes off that were peeked at. */
  consume(length: number): void {
    // Its descriptor may be another connection's by now.
    if (!this.#isOpen) throw this.#gone();
    for (let left = length; left > 0; ) {
      const taken = must(libc.recv(this.fd, 0, left, MSG_TRUNC | MSG_DONTWAIT), "recv");
      if (taken === 0) throw new InvariantError("Bytes were consumed that nobody had peeked at");
      left -= taken;
    }
  }

  /** Takes off the first bytes of what was looked at by `peek`, or put back by `unread`. */
  skip(length: number): void {
    const unread = this.#unread;
    if (!unread) {
      this.consume(length);
      return;
    }
    unread.taken += length;
    if (unread.taken > unread.bytes.length) throw new InvariantError("More bytes were skipped than were put back");
    if (isTaken(unread)) this.#unread = undefined;
  }

  read(at: number, room: number): number {
    if (!this.#isOpen) return this.#isDetached ? END : RESET;
    if (this.#unread) return this.#reread(at, room);
    const came = this.#top.read(at, room);
    if (came === NOTHING_NOW) this.readable = false;
    // A short read has emptied the socket. A FIN behind the bytes is only told by the next read.
    else if (came > 0 && came < room && this.#top === this.#tcp && !this.#hasLeft && !this.#hasUrgent) {
      this.readable = false;
    }
    return came;
  }

  #reread(at: number, room: number): number {
    const length = take(this.#unread!, at, room);
    if (isTaken(this.#unread!)) this.#unread = undefined;
    return length;
  }

  write(at: number, length: number): boolean {
    if (!this.#isOpen) return true;
    const isSent = this.#top.write(at, length);
    this.noteWritten(length);
    return isSent;
  }

  /** Writes one byte, which the peer can read as urgent. TLS has no such bytes: there it is an ordinary one. */
  writeUrgent(at: number): void {
    if (!this.#isOpen) return;
    if (this.isLayered) this.#top.write(at, 1);
    else this.#tcp.write(at, 1, MSG_OOB);
    this.noteWritten(1);
  }

  /** Counts bytes that were written. Those that the kernel moved have not passed `write`. */
  noteWritten(length: number): void {
    this.#written += length;
    this.onWritten?.(this.#written);
  }

  /** Sends what waits. True: nothing is left. */
  flush(): boolean {
    if (!this.#isOpen) return true;
    while (this.#top.flush()) {
      const next = this.#queue.shift();
      if (!next) return true;
      this.#queued -= next.length;
      this.write(addressOf(next), next.length);
      // Used once more, so that it cannot be collected while C reads it.
      next.fill(0);
      // Whoever was told of the bytes may have closed the end.
      if (!this.#isOpen) return true;
    }
    return false;
  }

  /**
   * Writes bytes of any length, now or as soon as they can be sent: for what the node itself says. They are copied. A peer that
   * does not read is reset when too much waits for it.
   */
  writeBytes(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#queued += bytes.length;
    if (this.#queued > MOST_QUEUED) {
      this.reset(new NetworkError(`The peer does not read: ${this.#queued} bytes wait for it`, "ENOBUFS"));
      return;
    }
    for (let at = 0; at < bytes.length; at += SCRATCH) {
      const piece = memory(Math.min(SCRATCH, bytes.length - at));
      piece.set(bytes.subarray(at, at + SCRATCH));
      this.#queue.push(piece);
    }
    this.flush();
  }

  /**
   * Has every layer say close_notify, from the top down, each once what is above it has been sent. True: all of it has been
   * sent, and `fin` may follow. False: to be called again when the end is writable.
   */
  finish(): boolean {
    if (!this.#isOpen) return true;
    this.#tcp.isLast = true;
    while (this.#finished < this.#layers.length) {
      if (!this.flush()) return false;
      this.#finished += 1;
      this.#layers.at(-this.#finished)!.finish();
    }
    return this.flush();
  }

  /** A FIN. Without `finish` before it, the peer sees a truncation where there is TLS. `flush` must have answered true. */
  fin(): void {
    if (!this.#isOpen) return;
    this.#hasEnded = true;
    libc.shutdown(this.fd, SHUT_WR);
  }

  /** What the lowest layer sends: how many of these bytes the socket took, -1 when it is broken. */
  send(at: number, length: number): number {
    return this.#isOpen ? this.#tcp.send(at, length) : -1;
  }

  /** A write past the layers has failed: whoever looks next finds the end broken. */
  breakOff(): void {
    this.#tcp.isBroken = true;
  }

  /** Puts bytes back that were read from the top: the next read gets them. */
  unread(bytes: Buffer): void {
    if (bytes.length === 0) return;
    const all = this.#unread ? Buffer.concat([bytes, this.#unread.bytes.subarray(this.#unread.taken)]) : bytes;
    const kept = memory(all.length);
    all.copy(kept);
    this.#unread = { bytes: kept, taken: 0 };
    this.readable = true;
  }

  /** The error that connect(2) or the peer has left behind; undefined: none. Asking clears it. */
  takeError(): string | undefined {
    if (!this.#isOpen) return "ECONNRESET";
    NAME_LENGTH.writeUInt32LE(4);
    libc.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, NAME, NAME_LENGTH);
    const code = NAME.readInt32LE();
    return code === 0 ? undefined : systemCode(code);
  }

  /**
   * The connection goes on as another end, with its layers and what waits in them. This one reads as ended from now on, and drops
   * what is written to it: whoever has it is not disturbed.
   */
  detach(): End {
    const fresh = End.adopt(this.loop, this.#copyDescriptor());
    // Layers and bytes that were put back read and write through it.
    fresh.#tcp = this.#tcp;
    fresh.#tcp.moveTo(fresh);
    [fresh.#layers, this.#layers] = [this.#layers, []];
    for (const layer of fresh.#layers) layer.moveTo(fresh);
    fresh.#top = fresh.#layers.at(-1) ?? fresh.#tcp;
    fresh.#unread = this.#unread;
    fresh.#queue.push(...this.#queue.splice(0));
    [fresh.#queued, fresh.#hasUrgent] = [this.#queued, this.#hasUrgent];
    [fresh.#closing, this.#closing] = [this.#closing, []];
    [fresh.#hasLeft, fresh.#isReset, fresh.#finished] = [this.#hasLeft, this.#isReset, this.#finished];
    this.#isDetached = true;
    this.#unread = undefined;
    this.#forget();
    // There is an end to read now.
    this.readable = true;
    this.#wake();
    return fresh;
  }

  /**
   * Closes the end and answers another descriptor of its connection, which goes on; the caller owns it. Nothing may stand on the
   * connection or wait to be sent.
   */
  release(): number {
    if (this.isLayered || this.hasUnread || !this.flush()) {
      throw new InvariantError(
        "Cannot release a connection: it has a layer, or bytes that its descriptor does not have",
      );
    }
    const copy = this.#copyDescriptor();
    this.#lingerAgain();
    this.#isDetached = true;
    this.close();
    return copy;
  }

  #copyDescriptor(): number {
    if (!this.#isOpen) throw this.#gone();
    return copyDescriptor(this.fd);
  }

  #gone(): NetworkError {
    return this.#why ?? new NetworkError("The connection is closed", "ECONNRESET");
  }

  /** Why the node itself closed the connection, for those who did not wait for it then. Undefined: it did not, or had no reason to tell. */
  get closedFor(): NetworkError | undefined {
    return this.#why;
  }

  /** Closes the connection: a FIN, when nothing was left unread. Whoever waits for it, and its relay, fail with `why`. */
  close(why?: NetworkError): void {
    if (this.#isOpen && why) this.#why = why;
    this.#close(why);
  }

  #close(why: unknown): void {
    if (!this.#isOpen) return;
    const waiting = [this.task, this.relay];
    this.#forget();
    [this.task, this.relay] = [undefined, undefined];
    // An error has a stack, which costs as much as closing: mostly nobody waits any more.
    for (const task of waiting) task?.fail(why ?? new NetworkError("The connection was closed", "ECONNRESET"));
    const closing = this.#closing;
    this.#closing = [];
    for (const tell of closing) tell();
  }

  /** Calls once the connection is closed, by whomever; at once when it is already. */
  onceClosed(tell: () => void): void {
    if (this.#isOpen) this.#closing = this.#closing.concat(tell);
    else tell();
  }

  #forget(): void {
    this.#isOpen = false;
    this.onLeave = undefined;
    open -= 1;
    this.loop.forget(this, this.#isDetached);
    for (const layer of this.#layers.toReversed()) layer.free();
    if (!this.#isDetached && !this.#isCut) this.#lingerAgain();
    libc.close(this.fd);
  }

  /** From now on, a close sends what the socket holds, and a FIN. */
  #lingerAgain(): void {
    libc.setsockopt(this.fd, SOL_SOCKET, SO_LINGER, LINGER, LINGER.length);
  }

  /** Closes the connection with a RST. */
  reset(why?: NetworkError): void {
    this.#isCut = true;
    this.close(why);
  }
}

/** Another descriptor of the same connection. The caller owns it. */
export function copyDescriptor(fd: number): number {
  return must(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), "fcntl");
}

/** What the kernel writes during one call. */
const [NAME, NAME_LENGTH] = [memory(ADDRESS_SIZE), memory(4)];

function nameOf(fd: number, call: typeof libc.getsockname): Endpoint | undefined {
  NAME_LENGTH.writeUInt32LE(ADDRESS_SIZE);
  return call(fd, NAME, NAME_LENGTH) === 0 ? readSocketAddress(NAME) : undefined;
}

/** Bytes that were read and put back. */
interface Unread {
  readonly bytes: Buffer;
  taken: number;
}

function take(unread: Unread, at: number, room: number): number {
  const length = Math.min(room, unread.bytes.length - unread.taken);
  libc.memcpy(at, addressOf(unread.bytes) + unread.taken, length);
  unread.taken += length;
  return length;
}

function isTaken({ bytes, taken }: Unread): boolean {
  return taken === bytes.length;
}

/** A wire with bytes in front that were put back before a layer was put on it. */
class Reread implements Wire {
  readonly #wire: Wire;
  readonly #unread: Unread;

  constructor(wire: Wire, unread: Unread) {
    this.#wire = wire;
    this.#unread = unread;
  }

  read(at: number, room: number): number {
    return isTaken(this.#unread) ? this.#wire.read(at, room) : take(this.#unread, at, room);
  }

  write(at: number, length: number): boolean {
    return this.#wire.write(at, length);
  }

  flush(): boolean {
    return this.#wire.flush();
  }

  finish(): void {
    this.#wire.finish();
  }

  get isBroken(): boolean {
    return this.#wire.isBroken;
  }
}

/** The connection itself, as the lowest wire. Bytes that the socket does not take are kept here, at most SCRATCH of them. */
class Tcp implements Wire {
  #end: End;
  isBroken = false;
  /** A FIN follows: what is sent waits for it, which saves a packet. */
  isLast = false;
  #rest: { readonly bytes: Buffer; readonly urgency: number; sent: number } | undefined;

  constructor(end: End) {
    this.#end = end;
  }

  /** The connection goes on as another end: what could not be sent goes with it. */
  moveTo(end: End): void {
    this.#end = end;
  }

  read(at: number, room: number): number {
    // Its descriptor may be another connection's by now.
    if (!this.#end.isOpen) return RESET;
    const length = libc.recv(this.#end.fd, at, room, MSG_DONTWAIT);
    if (length > 0) return length;
    if (length === 0) return this.#end.isReset ? RESET : END;
    return errno() === EAGAIN ? NOTHING_NOW : RESET;
  }

  /** `urgency`: MSG_OOB, for one byte that is urgent. */
  write(at: number, length: number, urgency = 0): boolean {
    if (this.#rest) throw new InvariantError("Bytes were written before the earlier ones were flushed");
    const sent = this.send(at, length, urgency);
    if (sent < 0 || sent === length) return true;
    const bytes = memory(length - sent);
    libc.memcpy(addressOf(bytes), at + sent, length - sent);
    this.#rest = { bytes, urgency, sent: 0 };
    return false;
  }

  flush(): boolean {
    if (!this.#rest) return true;
    const { bytes, urgency, sent } = this.#rest;
    const now = this.send(addressOf(bytes) + sent, bytes.length - sent, urgency);
    this.#rest.sent += now;
    if (now < 0 || this.#rest.sent === bytes.length) this.#rest = undefined;
    return this.#rest === undefined;
  }

  finish(): void {}

  /** How many of the bytes the socket took; -1 when it is broken. */
  send(at: number, length: number, urgency = 0): number {
    if (this.isBroken || !this.#end.isOpen) return -1;
    const flags = urgency | (this.isLast ? LAST_FLAGS : FLAGS);
    const sent = libc.send(this.#end.fd, at, length, flags);
    if (sent === length) return sent;
    this.#end.writable = false;
    if (sent >= 0) return sent;
    if (errno() === EAGAIN) return 0;
    this.isBroken = true;
    return -1;
  }
}
