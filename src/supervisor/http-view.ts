import { type ChildProcess, fork } from "node:child_process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import manifest from "../../package.json" with { type: "json" };
import type { Config } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import type { Account } from "../linux/privileges.ts";
import { log } from "../log.ts";
import type { Ask, FromView, ToView, ViewSetup } from "../view/protocol.ts";
import type { Transaction } from "../view/transaction.ts";

export interface HttpViewEvents {
  /** Transactions are over; `more` others are left out. */
  onTransactions(transactions: readonly Transaction[], more: number): void;
  /** Reads its standard error, where it logs. Absent: it is this process's own. */
  readonly readErrors?: (stream: Readable) => void;
}

/** In ms: until it is started again, when it died soon after its start again and again, and when that is forgotten. */
const RESTART = { first: 200, longest: 10_000, healthyAfter: 30_000 };
/** The process tells once a second that it lives. After this time, in ms, without a word it hangs. */
const SILENCE = 20_000;
/** ms for a new process to load its code and to listen. */
const START = 60_000;
/** ms for its last lines to be written. */
const STOP = 2_000;
/**
 * MB of JavaScript's objects; the bytes of sessions are elsewhere, and have a bound of their own. The young generation is not as small as
 * the node's own: what is parsed is mostly gone at once.
 */
const HEAP = ["--max-old-space-size=512", "--max-semi-space-size=32"];
/** Answers that are under way at one time. */
const MOST_ASKS = 64;
const NO_DEBUGGER = "--disable-sigusr1";

/** Why an ask has no answer, although it is a right one. */
class NoAnswer extends Error {
  readonly statusCode: 404 | 409;

  constructor(message: string, statusCode: 404 | 409 = 404) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** The process that this configuration wants; undefined: none. `tells`: whether it reports transactions. */
export function viewSetup(
  { dataDir, feeds }: Pick<Config, "dataDir" | "feeds">,
  user: Account | undefined,
  tells: boolean,
): ViewSetup | undefined {
  const feed = feeds.find((one) => one.kind === "http");
  return feed && { version: manifest.version, dataDir, user: user && { uid: user.uid, gid: user.gid }, feed, tells };
}

interface Waiting {
  take(message: FromView): void;
}

/**
 * The process that reads sessions as HTTP: started where a feed of kind http is configured, watched, and started again when it dies. It
 * parses what strangers sent, so this process passes its answers on without a look.
 */
export class HttpView {
  readonly #events: HttpViewEvents;
  #setup: ViewSetup | undefined;
  #child: ChildProcess | undefined;
  #failures = 0;
  #asks = 0;
  readonly #waiting = new Map<number, Waiting>();
  #again: NodeJS.Timeout | undefined;

  constructor(events: HttpViewEvents) {
    this.#events = events;
  }

  /** Makes the process one of this setup, or ends it. Resolves when it listens, or has failed to. */
  async apply(setup: ViewSetup | undefined): Promise<void> {
    if (JSON.stringify(setup) === JSON.stringify(this.#setup)) return;
    await this.stop();
    this.#setup = setup;
    if (setup) await this.#start(setup);
  }

  async stop(): Promise<void> {
    this.#setup = undefined;
    clearTimeout(this.#again);
    const child = this.#child;
    if (!child) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    send(child, { kind: "stop" });
    const late = setTimeout(() => child.kill("SIGKILL"), STOP);
    await ended;
    clearTimeout(late);
  }

  /**
   * The pieces of the answer; the next one is asked for when the last was used. They end when `signal` is aborted. Throws ConfigError,
   * and NoAnswer.
   */
  async *ask(ask: Ask, signal: AbortSignal): AsyncGenerator<string | Uint8Array> {
    const child = this.#child;
    if (!this.#setup) {
      const how = "add { name: http, kind: http } to feeds, and reload";
      throw new ConfigError("feeds", `This node does not read HTTP: no feed has the kind http. To have it, ${how}`);
    }
    if (!child) throw new NoAnswer("The HTTP view is being started; try again", 409);
    if (this.#waiting.size >= MOST_ASKS) throw new NoAnswer("The HTTP view has too many requests; try again", 409);
    this.#asks += 1;
    const number = this.#asks;
    const messages: FromView[] = [];
    let wake: (() => void) | undefined;
    this.#waiting.set(number, {
      take(message) {
        messages.push(message);
        wake?.();
      },
    });
    const onAbort = () => wake?.();
    signal.addEventListener("abort", onAbort);
    try {
      send(child, { kind: "ask", number, ask });
      while (!signal.aborted) {
        const message = messages.shift();
        if (!message) await new Promise<void>((resolve) => (wake = resolve));
        else if (message.kind === "piece") {
          yield message.piece;
          send(child, { kind: "more", number });
        } else if (message.kind === "refused") throw new NoAnswer(message.message);
        else return;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#waiting.delete(number);
      send(child, { kind: "enough", number });
    }
  }

  #start(setup: ViewSetup): Promise<void> {
    const startedAt = performance.now();
    const child = fork(fileURLToPath(new URL("../view/main.ts", import.meta.url)), {
      serialization: "advanced",
      stdio: ["inherit", "inherit", this.#events.readErrors ? "pipe" : "inherit", "ipc"],
      execArgv: [...process.execArgv, ...HEAP, NO_DEBUGGER],
    });
    this.#child = child;
    if (child.stderr) this.#events.readErrors?.(child.stderr);
    const { promise, resolve } = Promise.withResolvers<void>();
    const kill = (why: string) => {
      log.error({ feed: setup.feed.name, pid: child.pid }, why);
      child.kill("SIGKILL");
    };
    let silent = setTimeout(() => kill("The HTTP view does not start; it is killed"), START);
    child.on("message", (message: FromView) => {
      clearTimeout(silent);
      silent = setTimeout(() => kill("The HTTP view hangs; it is killed"), SILENCE);
      try {
        if (message.kind === "ready") resolve();
        else this.#hear(message);
      } catch (error) {
        // A bug of ours, or a process that was taken over: either way the node lives on.
        log.error({ err: error }, "A message of the HTTP view makes no sense");
        child.kill("SIGKILL");
      }
    });
    child.once("error", () => {});
    child.once("exit", (code, signal) => {
      clearTimeout(silent);
      resolve();
      this.#ended(child, signal ?? `code ${code}`, performance.now() - startedAt);
    });
    send(child, { kind: "setup", setup });
    return promise;
  }

  #hear(message: Exclude<FromView, { kind: "ready" }>): void {
    if (message.kind === "alive") return;
    if (message.kind === "transactions") this.#events.onTransactions(message.transactions, message.more);
    else this.#waiting.get(message.number)?.take(message);
  }

  #ended(child: ChildProcess, how: string, lasted: number): void {
    if (this.#child === child) this.#child = undefined;
    for (const [number, { take }] of this.#waiting)
      take({ kind: "refused", number, message: "The HTTP view ended while it answered; it is started again" });
    const setup = this.#setup;
    if (!setup) return;
    this.#failures = lasted > RESTART.healthyAfter ? 0 : this.#failures + 1;
    const delay = Math.min(RESTART.first * 2 ** this.#failures, RESTART.longest);
    log.error({ feed: setup.feed.name, how, delay }, "The HTTP view ended; it is started again. Sessions go on");
    this.#again = setTimeout(() => void this.#start(setup), delay);
  }
}

function send(child: ChildProcess, message: ToView): void {
  if (child.connected) child.send(message, undefined, undefined, () => {});
}
