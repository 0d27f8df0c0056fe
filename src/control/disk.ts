import { Worker } from "node:worker_threads";
import type { Answer, Question, StoreCalls } from "./disk-calls.ts";

/** ms that the disk may take to answer. One that hangs, or a server of files that is gone, may answer never. */
const PATIENCE = 10_000;
/** The most calls that wait. A caller gives up after PATIENCE, but its call stays: on a slow disk the queue would grow without end. */
const WAITING_MAX = 1_000;

/** The disk takes longer than anyone should wait. */
export class DiskStall extends Error {
  override readonly name = "DiskStall";
}

/** What stands in a file, and is asked for in another thread. */
export interface Store<Calls> {
  /** Resolves when the disk has answered, which may be never: see `Disk.inTime`. Rejects with what the call throws. */
  call<Name extends keyof Calls>(name: Name, ...args: ArgsOf<Calls[Name]>): Promise<ResultOf<Calls[Name]>>;
}

type ArgsOf<Call> = Call extends (...args: infer Args) => unknown ? Args : never;
type ResultOf<Call> = Call extends (...args: never[]) => infer Result ? Result : never;

interface Waiting {
  readonly since: number;
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** A thread that reads and writes SQLite's files, one call after the other: a disk that hangs holds up this thread, and nothing else. */
export class Disk {
  // The process's own flags may be about the text of its program.
  readonly #thread = new Worker(new URL("disk-thread.ts", import.meta.url), { execArgv: [] });
  readonly #patience: number;
  /** In the order in which they are answered. */
  readonly #waiting = new Map<number, Waiting>();
  /** When it answered last. */
  #heard = 0;
  #asked = 0;
  #stores = 0;

  constructor(patience = PATIENCE) {
    this.#patience = patience;
    this.#thread.on("message", (answer: Answer) => this.#take(answer));
    this.#thread.unref();
  }

  /** The disk does not answer. */
  get stall(): DiskStall | undefined {
    const [first] = this.#waiting.values();
    if (first === undefined || performance.now() - Math.max(first.since, this.#heard) < this.#patience)
      return undefined;
    return new DiskStall(`the disk has not answered for ${this.#patience / 1000} s`);
  }

  /** Why nobody is to ask the disk now. */
  get refusal(): DiskStall | undefined {
    return this.#waiting.size < WAITING_MAX ? this.stall : new DiskStall(`${WAITING_MAX} others wait for the disk`);
  }

  /** Opens the store in the thread. When that fails, so does each call. */
  open<Kind extends keyof StoreCalls>(kind: Kind, file: string): Store<StoreCalls[Kind]> {
    const store = ++this.#stores;
    // Each call that follows says why it failed.
    this.#ask<unknown>(store, "open", [kind, file]).catch(() => undefined);
    return { call: (name, ...args) => this.#ask(store, String(name), args) };
  }

  /** Rejects with DiskStall when the answer takes too long, at once when the disk hangs already. It may come later. */
  async inTime<Result>(answer: Promise<Result>): Promise<Result> {
    const { promise, reject } = Promise.withResolvers<never>();
    const late = () => reject(this.stall ?? new DiskStall("the disk is too slow"));
    const timer = setTimeout(late, this.#patience);
    if (this.stall) late();
    try {
      return await Promise.race([answer, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the thread, unless it waits for a disk that does not answer: nothing can end that. */
  async close(): Promise<void> {
    if (!this.stall) await this.#thread.terminate();
  }

  #ask<Result>(store: number, name: string, args: readonly unknown[]): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    const id = ++this.#asked;
    this.#waiting.set(id, { since: performance.now(), resolve, reject });
    this.#thread.postMessage({ id, store, name, args } satisfies Question);
    this.#thread.ref();
    return promise;
  }

  #take({ id, value, error }: Answer): void {
    const { resolve, reject } = this.#waiting.get(id)!;
    this.#waiting.delete(id);
    this.#heard = performance.now();
    if (this.#waiting.size === 0) this.#thread.unref();
    if (error === undefined) resolve(value as never);
    else reject(new Error(error));
  }
}
