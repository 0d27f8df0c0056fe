import { Redis } from "iovalkey";

export interface StoreState {
  readonly state: "connected" | "alone";
  /** Why this node goes on alone. */
  readonly reason?: string | undefined;
  /** Commands that were not answered, or not in time. */
  readonly failures: number;
}

export interface StoreOptions {
  /** "redis://user:password@host:port/database", "rediss://…" with TLS. */
  readonly url: string;
  /** The longest that a session waits for an answer, in ms. */
  readonly wait: number;
  /** The channels that this node listens to. It hears its own messages too. */
  readonly channels: readonly string[];
  onMessage(channel: string, message: Buffer): void;
  /** The store answers, for the first time or again. Messages sent meanwhile are lost. */
  onConnected(): void;
  onAlone(reason: string): void;
}

/** ms between two checks that the store answers. */
const CHECK = 1_000;
/** ms after which a connection without an answer is given up. */
const PATIENCE = 5_000;
/** Keys that one SCAN looks at. */
const PAGE = 500;

/**
 * The store that nodes share, Valkey or Redis, for use by sessions: no command throws, and none waits longer than `wait`. A store
 * that was late once is not asked again until a check finds that it answers in time: no second session waits for it.
 */
export class Store {
  readonly #options: StoreOptions;
  readonly #commands: Redis;
  /** A connection that has subscribed takes no other command. */
  readonly #subscriber: Redis;
  readonly #checks: NodeJS.Timeout;
  #isConnected = false;
  #reason: string | undefined = "not connected yet";
  #failures = 0;
  #isClosed = false;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#commands = new Redis(options.url, CONNECTION);
    this.#subscriber = new Redis(options.url, CONNECTION);
    for (const one of [this.#commands, this.#subscriber]) {
      one.on("error", (error: Error) => this.#goAlone(this.#explain(error)));
      one.on("close", () => this.#goAlone(this.#reason ?? "the connection ended"));
    }
    this.#subscriber.on("messageBuffer", (channel: Buffer, message: Buffer) =>
      options.onMessage(channel.toString(), message),
    );
    this.#subscriber.on("ready", () => {
      this.#subscriber.subscribe(...options.channels).then(
        () => this.#check(),
        (error: Error) => this.#goAlone(this.#explain(error)),
      );
    });
    this.#commands.on("ready", () => void this.#check());
    this.#checks = setInterval(() => void this.#check(), CHECK);
  }

  state(): StoreState {
    const state = this.#isConnected ? "connected" : "alone";
    return { state, reason: this.#reason, failures: this.#failures };
  }

  /** Undefined when the store has no such key, or does not answer. */
  async find(key: string): Promise<Buffer | undefined> {
    return (await this.#ask(() => this.#commands.getBuffer(key))) ?? undefined;
  }

  /** Keeps the value for `time` ms. Returns before the store answers. */
  put(key: string, value: Uint8Array, time: number): void {
    this.#attempt(() => this.#commands.set(key, Buffer.from(value), "PX", wholeMs(time)));
  }

  /** Returns before the store answers. */
  drop(key: string): void {
    this.#attempt(() => this.#commands.unlink(key));
  }

  /** Puts the value unless another node was first. Resolves with the value that is there now; undefined: no answer. */
  async putFirst(key: string, value: Uint8Array, time: number): Promise<Buffer | undefined> {
    const own = Buffer.from(value);
    const answer = await this.#ask(() => this.#commands.set(key, own, "PX", wholeMs(time), "NX"));
    if (answer === undefined) return undefined;
    return answer === "OK" ? own : this.find(key);
  }

  /** The values of the keys that begin so, `most` at most. Slow: no session may wait for it. Throws when the store fails. */
  async list(prefix: string, most: number): Promise<Buffer[]> {
    const found: Buffer[] = [];
    for await (const keys of this.#keys(prefix)) {
      found.push(...(await this.#commands.mgetBuffer(keys)).filter((value) => value !== null));
      if (found.length >= most) break;
    }
    return found.slice(0, most);
  }

  /** Deletes all keys that begin so. Slow: no session may wait for it. Throws when the store fails. */
  async clear(prefix: string): Promise<void> {
    for await (const keys of this.#keys(prefix)) await this.#commands.unlink(...keys);
  }

  /** Returns before the store answers. */
  publish(channel: string, message: Uint8Array): void {
    this.#attempt(() => this.#commands.publish(channel, Buffer.from(message)));
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#checks);
    this.#commands.disconnect();
    this.#subscriber.disconnect();
  }

  /** The answer, or undefined when there is none in time. */
  async #ask<T>(command: () => Promise<T>): Promise<T | undefined> {
    if (!this.#isConnected) return undefined;
    try {
      return await within(this.#options.wait, command());
    } catch (error) {
      this.#failures += 1;
      this.#goAlone(this.#explain(error));
      return undefined;
    }
  }

  #attempt(command: () => Promise<unknown>): void {
    if (!this.#isConnected) return;
    command().catch(() => {
      this.#failures += 1;
    });
  }

  /** Connected means: both connections have just answered in time. */
  async #check(): Promise<void> {
    if (this.#isClosed || this.#commands.status !== "ready" || this.#subscriber.status !== "ready") return;
    try {
      await within(this.#options.wait, Promise.all([this.#commands.ping(), this.#subscriber.ping()]));
      if (this.#isConnected || this.#isClosed) return;
      this.#isConnected = true;
      this.#reason = undefined;
      this.#options.onConnected();
    } catch (error) {
      this.#goAlone(this.#explain(error));
    }
  }

  #goAlone(reason: string): void {
    const isNews = this.#isConnected || this.#reason !== reason;
    this.#isConnected = false;
    this.#reason = reason;
    if (isNews && !this.#isClosed) this.#options.onAlone(reason);
  }

  #explain(error: unknown): string {
    // The command's own error is only that the connection is gone: why it is gone is known already.
    if ((error as Error).name === "MaxRetriesPerRequestError" && this.#reason !== undefined) return this.#reason;
    return error === LATE ? `it did not answer in ${this.#options.wait} ms` : describe(error);
  }

  /** All keys that begin so, some at a time. */
  async *#keys(prefix: string): AsyncGenerator<string[]> {
    let cursor = "0";
    do {
      const [next, keys] = await this.#commands.scan(cursor, "MATCH", `${prefix}*`, "COUNT", PAGE);
      cursor = next;
      if (keys.length > 0) yield keys;
    } while (cursor !== "0");
  }
}

/** A command without a connection fails at once, and its session goes on without the store. */
const CONNECTION = {
  connectionName: "clearline",
  connectTimeout: PATIENCE,
  // Ends a connection whose peer has vanished silently. The answers to checks keep the others open.
  socketTimeout: PATIENCE,
  keepAlive: 10_000,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  retryStrategy: (times: number) => Math.min(100 * 2 ** Math.min(times, 6), CHECK * 5),
};

const LATE = Symbol("late");

function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(LATE), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** PX takes a whole number above 0. */
function wholeMs(time: number): number {
  return Math.max(1, Math.floor(time));
}

/** The code, or the message's first line: the library's further lines are for programmers. Neither holds the password. */
function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message.split("\n")[0]!;
}
