import { InvariantError, type NetworkError } from "../errors.ts";
import { addressOf, addressOfFunction, errno, libc, memory, must, permanent, uv } from "./native.ts";
import { Queue } from "./queue.ts";

/**
 * The engine's event loop: one epoll set of our own, which sits as a single descriptor in libuv's loop. When a descriptor
 * of the set is ready, libuv wakes up and comes to its check phase, where Node runs our immediate; so timers, promises and
 * Node's own I/O go on beside it. An idle engine costs no CPU.
 *
 * What takes time is a task. A task does what it can do now and says whether there is more; it is run again when one of its
 * ends may be ready. Tasks that have just become ready run before those that have been at work for long. What only begins work, such
 * as a handshake, is deferred: it runs when nothing is ready, so that what has begun comes to its end first.
 */

/** Something that the loop runs when one of its ends may be ready. */
export interface Task {
  /** Does what can be done now, within a budget. True: there is more to do without waiting for anything. */
  run(): boolean;
  /** `run` threw: a bug of ours, or a peer that broke its protocol. The task is over. */
  fail(error: unknown): void;
  /** Only the loop writes this. */
  queued: boolean;
}

/** What the loop knows of one descriptor. */
export interface Watched {
  readonly fd: number;
  /** Descriptors are reused; an event counts only for the generation that it was registered with. */
  readonly generation: number;
  /** Records what epoll reported. Called between tasks, never inside of one. */
  notice(events: number): void;
  /** `notice` threw: a bug of ours. */
  fail(error: unknown): void;
}

export const EPOLL = { IN: 1, PRI: 2, OUT: 4, ERR: 8, HUP: 16, RDHUP: 0x2000, ET: 0x80000000 } as const;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLL_CLOEXEC = 0o2000000;
/** libuv's UV_POLL, and UV_READABLE. */
const UV_POLL = 8;
const UV_READABLE = 1;

/** struct epoll_event in 32-bit words: it is packed on x86-64 only. Its data are the descriptor and the generation. */
export const EVENT_WORDS = process.arch === "x64" ? 3 : 4;
const MOST_EVENTS = 256;

/** What is asked of epoll: all of it, or all but the arrival of bytes. A FIN and a RST are told in any case. */
const WITHOUT_ARRIVALS = (EPOLL.OUT | EPOLL.RDHUP | EPOLL.ET) >>> 0;
const ALL = (WITHOUT_ARRIVALS | EPOLL.IN | EPOLL.PRI) >>> 0;

/** Plaintext moved at a time, in bytes: eight of TLS's largest records. */
export const SCRATCH = 128 * 1024;
/** ms that the engine keeps libuv waiting at most. */
const TURN = 2;
/**
 * ms between two looks at epoll while there is work: one task of a download, or some of small sessions. Without it a small request
 * waits for 16 downloads: 72 ms, not 0.7.
 */
const LOOK = 0.05;
/** Deferred tasks that run in one turn: what they begin goes on between two turns. */
const MOST_BEGUN = 4;
/** ms after which one deferred task runs although others are ready: what has begun may be more than enough. */
const OVERDUE = 10;

export class Loop {
  /** What is being moved right now. Its content is valid until the task that read into it returns. */
  readonly scratch = memory(SCRATCH);
  readonly scratchAt = addressOf(this.scratch);
  /** Told of what goes wrong for no session in particular, such as a listener that cannot accept. */
  report: (error: NetworkError) => void = () => {};
  readonly #epoll: number;
  readonly #events = memory(MOST_EVENTS * EVENT_WORDS * 4);
  readonly #words = new Uint32Array(this.#events.buffer, this.#events.byteOffset, MOST_EVENTS * EVENT_WORDS);
  readonly #watched: (Watched | undefined)[] = [];
  /** libuv has its address for as long as the process lives; nothing else may hold on to an idle loop. */
  readonly #poll = permanent(uv.handle_size(UV_POLL)).bytes;
  #generation = 0;
  #size = 0;
  /** Tasks that have become ready. */
  readonly #ready = new Queue<Task>();
  /** Tasks that have used up their budget. */
  readonly #busy = new Queue<Task>();
  /** Tasks that begin something, and when they were deferred. */
  readonly #deferred = new Queue<{ readonly task: Task; readonly since: number }>();
  #begun = 0;
  #lastBegun = 0;
  readonly #overdue: number;
  #isRunning = false;
  /** Undefined: there is nothing to watch and nothing to run. An immediate runs whenever the process wakes up, for whatever reason. */
  #immediate: NodeJS.Immediate | undefined;

  /** `overdue`: as the constant; tests set it. */
  constructor(overdue = OVERDUE) {
    this.#overdue = overdue;
    this.#epoll = must(libc.epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    // libuv insists on a C callback; this one only reads a flag. A JavaScript one would run outside of Node's ticks.
    const nothing = addressOfFunction("uv_is_active");
    if (uv.poll_init(uv.default_loop(), this.#poll, this.#epoll) !== 0) throw new InvariantError("uv_poll_init failed");
    if (uv.poll_start(this.#poll, UV_READABLE, nothing) !== 0) throw new InvariantError("uv_poll_start failed");
    uv.unref(this.#poll);
  }

  /** Descriptors that are watched now. */
  get size(): number {
    return this.#size;
  }

  /** Begins to watch a descriptor, edge-triggered, for all that epoll can report of it. */
  watch(fd: number, create: (generation: number) => Watched): void {
    this.#generation = (this.#generation + 1) >>> 0;
    this.#ask(EPOLL_CTL_ADD, ALL, fd, this.#generation);
    this.#watched[fd] = create(this.#generation);
    // What is watched keeps the process alive, as Node's sockets do.
    if (this.#size === 0) uv.ref(this.#poll);
    this.#size += 1;
    this.#immediate ??= setImmediate(this.#turn).unref();
  }

  /** Whether the arrival of bytes is told. When it is told again, what has come meanwhile counts as arriving now. */
  tellArrivals({ fd, generation }: Watched, tells: boolean): void {
    this.#ask(EPOLL_CTL_MOD, tells ? ALL : WITHOUT_ARRIVALS, fd, generation);
  }

  #ask(operation: number, events: number, fd: number, generation: number): void {
    // The first event is read before anything is told of it, so its memory is free, also while events are told.
    this.#words[0] = events;
    this.#words[EVENT_WORDS - 2] = fd;
    this.#words[EVENT_WORDS - 1] = generation;
    must(libc.epoll_ctl(this.#epoll, operation, fd, this.#events), "epoll_ctl");
  }

  /** The descriptor is about to be closed. That takes it out of the epoll set, unless its connection has another descriptor. */
  forget(watched: Watched, hasAnother: boolean): void {
    if (this.#watched[watched.fd] !== watched) throw new InvariantError("A descriptor was forgotten twice");
    if (hasAnother) must(libc.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, watched.fd, this.#events), "epoll_ctl");
    this.#watched[watched.fd] = undefined;
    this.#size -= 1;
    if (this.#size === 0) uv.unref(this.#poll);
  }

  /** Has the task run soon. A task that waits already is not queued twice. */
  enqueue(task: Task): void {
    if (task.queued) return;
    task.queued = true;
    this.#ready.push(task);
    this.#wake();
  }

  /** Has a task run that begins something: once, when nothing else is ready. */
  defer(task: Task): void {
    this.#deferred.push({ task, since: performance.now() });
    this.#wake();
  }

  /** When the first of the tasks was deferred that have not run, by performance.now(); undefined: there is none. */
  get deferredSince(): number | undefined {
    return this.#deferred.first?.since;
  }

  /** Has all deferred tasks run soon. */
  hurry(): void {
    for (let next = this.#deferred.shift(); next; next = this.#deferred.shift()) this.enqueue(next.task);
  }

  #wake(): void {
    if (this.#isRunning) return;
    this.#immediate ??= setImmediate(this.#turn);
    this.#immediate.ref();
  }

  readonly #turn = (): void => {
    this.#isRunning = true;
    try {
      this.#runTasks();
    } finally {
      // Also after a bug: without the next turn all connections would hang.
      this.#isRunning = false;
      const isIdle = this.#ready.size === 0 && this.#busy.size === 0 && this.#deferred.size === 0;
      this.#immediate = isIdle && this.#size === 0 ? undefined : setImmediate(this.#turn);
      if (isIdle) this.#immediate?.unref();
    }
  };

  #runTasks(): void {
    const until = performance.now() + TURN;
    let looked = 0;
    this.#begun = 0;
    for (let now = performance.now(); now < until; now = performance.now()) {
      if (this.#ready.size === 0 || now - looked > LOOK) {
        this.#look();
        looked = now;
      }
      const task = this.#take(now);
      if (!task) break;
      task.queued = false;
      try {
        if (task.run() && !task.queued) {
          task.queued = true;
          this.#busy.push(task);
        }
      } catch (error) {
        task.fail(error);
      }
    }
  }

  #take(now: number): Task | undefined {
    const isReady = this.#ready.size > 0;
    const mayBegin = isReady ? now - this.#lastBegun > this.#overdue : this.#begun < MOST_BEGUN;
    const first = mayBegin ? this.#deferred.shift() : undefined;
    if (!first) return isReady ? this.#ready.shift() : this.#busy.shift();
    this.#begun += 1;
    this.#lastBegun = now;
    return first.task;
  }

  #look(): void {
    const count = libc.epoll_wait(this.#epoll, this.#events, MOST_EVENTS, 0);
    // EINTR: the next look finds the same events.
    if (count < 0 && errno() !== EINTR) must(count, "epoll_wait");
    for (let index = 0; index < count; index += 1) {
      const at = index * EVENT_WORDS;
      const watched = this.#watched[this.#words[at + EVENT_WORDS - 2]!];
      if (watched && watched.generation === this.#words[at + EVENT_WORDS - 1]) tell(watched, this.#words[at]!);
    }
  }
}

const EINTR = 4;

/** The events behind this one are told whatever becomes of it: an edge is reported once. */
function tell(watched: Watched, events: number): void {
  try {
    watched.notice(events);
  } catch (error) {
    watched.fail(error);
  }
}
