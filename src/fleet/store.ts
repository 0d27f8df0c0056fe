import { Redis } from "iovalkey";

/**
 * The store that nodes share, Valkey or Redis, as a session may use it: it never fails and never takes longer than a limit.
 * Once it is slow it is not asked again until it has answered in time, so that no second session waits for it.
 */
export interface Store {
  /** Undefined: it is not there, or the store is not. */
  find(key: string): Promise<Buffer | undefined>;
  /** `time`: ms for which it is kept. Nobody waits for it. */
  put(key: string, value: Uint8Array, time: number): void;
  /** Nobody waits for it. */
  drop(key: string): void;
  /** What stands there from now on: what another node was first with, or `value`. Undefined: the store is not there. */
  agree(key: string, value: Uint8Array, time: number): Promise<Buffer | undefined>;
  /** The values of all keys that begin so, `most` at most. Takes its time: no session may wait for it. */
  list(prefix: string, most: number): Promise<Buffer[]>;
  /** Deletes all keys that begin so. Takes its time. */
  clear(prefix: string): Promise<void>;
  publish(channel: string, message: Uint8Array): void;
  state(): StoreState;
  close(): void;
}

export interface StoreState {
  readonly state: "connected" | "alone";
  /** Why this node goes on alone. */
  readonly reason?: string | undefined;
  /** Questions that were not answered, or not in time. */
  readonly failures: number;
}

export interface StoreOptions {
  /** "redis://user:password@host:port/database", "rediss://…" with TLS. */
  readonly url: string;
  /** The longest that anyone waits for an answer, in ms. */
  readonly wait: number;
  /** Heard on these; sent by `publish`, by this node too. */
  readonly channels: readonly string[];
  onMessage(channel: string, message: Buffer): void;
  /** It is there, again: what was missed is to be made up for. */
  onConnected(): void;
  onAlone(reason: string): void;
}

/** ms between two looks whether it answers. */
const LOOK = 1_000;
/** ms that one look, or a long reading, may take before the connection is given up. */
const PATIENCE = 5_000;
const PAGE = 500;

export function openStore({ url, wait, channels, onMessage, onConnected, onAlone }: StoreOptions): Store {
  let state: "connected" | "alone" = "alone";
  let reason: string | undefined = "not connected yet";
  let failures = 0;
  let closed = false;
  const client = new Redis(url, CONNECTION);
  // A connection that has subscribed can do nothing else.
  const ears = new Redis(url, CONNECTION);

  const goAlone = (why: string): void => {
    const news = state === "connected" || reason !== why;
    state = "alone";
    reason = why;
    if (news && !closed) onAlone(why);
  };
  /** An answer within the limit, or none. */
  const ask = async <T>(question: () => Promise<T>): Promise<T | undefined> => {
    if (state === "alone") return undefined;
    try {
      return await within(wait, question());
    } catch (error) {
      failures += 1;
      goAlone(error === LATE ? `it did not answer in ${wait} ms` : describe(error));
      return undefined;
    }
  };
  const attempt = (command: () => Promise<unknown>): void => {
    if (state === "alone") return;
    command().catch(() => {
      failures += 1;
    });
  };
  const look = async (): Promise<void> => {
    if (closed || client.status !== "ready" || ears.status !== "ready") return;
    try {
      await within(wait, Promise.all([client.ping(), ears.ping()]));
      if (state === "connected" || closed) return;
      state = "connected";
      reason = undefined;
      onConnected();
    } catch (error) {
      goAlone(error === LATE ? `it did not answer in ${wait} ms` : describe(error));
    }
  };

  for (const one of [client, ears]) {
    one.on("error", (error: Error) => goAlone(describe(error)));
    one.on("close", () => goAlone(reason ?? "the connection ended"));
  }
  ears.on("messageBuffer", (channel: Buffer, message: Buffer) => onMessage(channel.toString(), message));
  ears.on("ready", () => {
    ears.subscribe(...channels).then(look, (error: Error) => goAlone(describe(error)));
  });
  client.on("ready", () => void look());
  const timer = setInterval(look, LOOK);

  return {
    find: async (key) => (await ask(() => client.getBuffer(key))) ?? undefined,
    put: (key, value, time) => attempt(() => client.set(key, Buffer.from(value), "PX", Math.max(1, Math.floor(time)))),
    drop: (key) => attempt(() => client.unlink(key)),
    async agree(key, value, time) {
      const bytes = Buffer.from(value);
      const first = await ask(() => client.set(key, bytes, "PX", Math.max(1, Math.floor(time)), "NX"));
      if (first === undefined) return undefined;
      return first === "OK" ? bytes : ((await ask(() => client.getBuffer(key))) ?? undefined);
    },
    async list(prefix, most) {
      const found: Buffer[] = [];
      for await (const keys of pages(client, prefix)) {
        if (keys.length > 0) found.push(...(await client.mgetBuffer(keys)).filter((value) => value !== null));
        if (found.length >= most) break;
      }
      return found.slice(0, most);
    },
    async clear(prefix) {
      for await (const keys of pages(client, prefix)) if (keys.length > 0) await client.unlink(...keys);
    },
    publish: (channel, message) => attempt(() => client.publish(channel, Buffer.from(message))),
    state: () => ({ state, reason, failures }),
    close() {
      closed = true;
      clearInterval(timer);
      client.disconnect();
      ears.disconnect();
    },
  };
}

/** A command that meets no connection fails at once: who asked goes on without. */
const CONNECTION = {
  connectionName: "clearline",
  connectTimeout: PATIENCE,
  // One that has vanished without a word is given up; looks and their answers keep the others alive.
  socketTimeout: PATIENCE,
  keepAlive: 10_000,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  retryStrategy: (times: number) => Math.min(100 * 2 ** Math.min(times, 6), LOOK * 5),
};

const LATE = Symbol("late");

function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(LATE), ms);
    answer.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** Without what the library adds for programmers: an address and why, never a password. */
function describe(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message.split("\n")[0]!;
}

async function* pages(client: Redis, prefix: string): AsyncGenerator<string[]> {
  let cursor = "0";
  do {
    const [next, keys] = await client.scan(cursor, "MATCH", `${prefix}*`, "COUNT", PAGE);
    cursor = next;
    yield keys;
  } while (cursor !== "0");
}
