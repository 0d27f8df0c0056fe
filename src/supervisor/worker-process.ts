import { type ChildProcess, fork } from "node:child_process";
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { ConfigError } from "../errors.ts";
import { makeCallRecord, readLastCall } from "../linux/last-call.ts";
import { mainThread } from "../linux/process-state.ts";
import { log } from "../log.ts";
import type { FromWorker, SessionNews, ToWorker, WorkerSetup, WorkerStatus } from "../messages.ts";
import { type Silence, watchSilence } from "./silence.ts";

export interface WorkerProcessEvents {
  /** It reports about its sessions. `socket`: the connection that it hands over. */
  onMessage(message: SessionNews, socket: Socket | undefined): void;
  /** It reports its state, once a second. */
  onStatus(status: WorkerStatus): void;
  /**
   * It has ended, and everything that it said has been heard. `how`: its exit code or the signal that ended it. `lastCall`: what its
   * engine called last, if that is known.
   */
  onEnd(how: string, lastCall: string | undefined): void;
}

/** What all workers have of the supervisor. */
export interface Shared {
  /** The descriptors that each has from 5 on. */
  readonly inherited: readonly number[];
  /** Reads what a worker writes to its standard error. Absent: it writes to the supervisor's. */
  readonly readErrors?: ((stream: Readable) => void) | undefined;
  /** The data folder's disk does not answer. A new worker would wait for it in Node's cache of compiled code. */
  readonly diskHangs?: (() => boolean) | undefined;
}

/** What became of a setup. `endedWith`: the exit code of the worker, or the signal that ended it; undefined: it uses the setup. */
export interface Taken {
  readonly endedWith: string | undefined;
}

/**
 * Name look-ups, and the queue of held SYNs of each inline listener and VLAN, at most 16, take a thread while they wait; Node's four
 * are soon taken.
 */
const THREADS = "32";

/** A new worker has to load its code before it can report, which takes long on a busy machine. In ms. */
const FIRST_REPORT = 120_000;

/**
 * A worker's memory is its idle sessions', and what moves through it is in the engine's. With V8's default of 16 MiB, young
 * objects lie around between two collections; with 1 MiB every third session begins one, and a session costs a tenth more.
 */
const YOUNG_GENERATION = "--max-semi-space-size=4";

/**
 * V8 would let threads help to collect young objects, and wait until the system runs them: on busy cores that takes twice as long as
 * to do without.
 */
const ALONE = "--no-parallel-scavenge";

/** SIGUSR1 would open Node's debugger, through which a process runs any code. */
const NO_DEBUGGER = "--disable-sigusr1";

/** A worker that reports once a second and says nothing for so many ms while a reload waits for it hangs. */
const RELOAD_SILENCE = 5_000;
/** A worker that has not applied a setup after this time, in ms, never will. */
const APPLY = FIRST_REPORT;

/** One worker process, from its start to its end. One that reports nothing for `silence` ms is looked at, and killed if it hangs. */
export class WorkerProcess {
  readonly startedAt = Date.now();
  /** Resolves after `onEnd`. */
  readonly ended: Promise<void>;
  readonly #worker: number;
  readonly #child: ChildProcess;
  readonly #events: WorkerProcessEvents;
  readonly #silence: Silence;
  readonly #callRecord = makeRecord();
  /** Setups that the worker has not answered yet, in the order in which they were sent. */
  readonly #unanswered: ((answer: ConfigError | Taken) => void)[] = [];
  #status: WorkerStatus | undefined;
  #isReady = false;
  #heard = performance.now();
  #hasEnded = false;

  constructor(worker: number, silence: number, events: WorkerProcessEvents, shared: Shared) {
    const { inherited, readErrors, diskHangs } = shared;
    this.#worker = worker;
    this.#events = events;
    this.#child = fork(fileURLToPath(new URL("../worker/main.ts", import.meta.url)), {
      serialization: "advanced",
      stdio: ["inherit", "inherit", readErrors ? "pipe" : "inherit", "ipc", this.#callRecord ?? "ignore", ...inherited],
      execArgv: [...process.execArgv, YOUNG_GENERATION, ALONE, NO_DEBUGGER],
      env: {
        ...process.env,
        ...{ UV_THREADPOOL_SIZE: THREADS },
        ...(diskHangs?.() && { NODE_DISABLE_COMPILE_CACHE: "1" }),
      },
    });
    if (this.#child.stderr) readErrors?.(this.#child.stderr);
    this.#silence = watchSilence({
      ...{ silence, first: FIRST_REPORT },
      look: () => mainThread(this.pid),
      onStarved: () => log.warn({ worker, pid: this.pid }, "A worker is silent because it waits for the CPU"),
      onHang: (why) => {
        log.error({ worker, pid: this.pid, silence, why }, "A worker hangs; it is killed");
        this.kill();
      },
    });
    this.#child.on("message", (message: FromWorker, socket: Socket | undefined) => {
      try {
        this.#hear(message, socket);
      } catch (error) {
        // A bug of ours, or a worker that was taken over: either way the others live on.
        log.error({ worker, pid: this.pid, err: error }, "A worker's message makes no sense; it is killed");
        this.kill();
      }
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#onceEnded((how) => {
      this.#end(how);
      resolve();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Its latest report. Undefined before the first one, and after its end: it carries no session then. */
  get status(): WorkerStatus | undefined {
    return this.#status;
  }

  /** It has used its first setup, so it listens, and it has not fallen silent. */
  get accepts(): boolean {
    return this.#isReady && !this.#hasEnded && performance.now() - this.#heard < RELOAD_SILENCE;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /**
   * Resolves when the worker uses the setup, or ends first: one that takes too long, or says nothing meanwhile, is killed. Rejects with a
   * ConfigError when it cannot use the setup.
   */
  setUp(setup: WorkerSetup): Promise<Taken> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        log.error({ worker: this.#worker, pid: this.pid }, "A worker does not apply its configuration; it is killed");
        this.kill();
      }, APPLY);
      this.#unanswered.push((answer) => {
        clearTimeout(late);
        if (answer instanceof ConfigError) reject(answer);
        else resolve(answer);
      });
      this.#silence.expect(RELOAD_SILENCE);
      this.send({ kind: "setup", setup });
    });
  }

  #answered(answer: ConfigError | Taken): void {
    this.#unanswered.shift()?.(answer);
    if (this.#unanswered.length === 0) this.#silence.expect(undefined);
  }

  /** `socket` goes with the message and is closed here once it has arrived. False: a worker that is ending takes neither. */
  send(message: ToWorker, socket?: Socket): boolean {
    if (this.#child.connected) this.#child.send(message, socket, undefined, () => {});
    else socket?.destroy();
    return this.#child.connected;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #hear(message: FromWorker, socket: Socket | undefined): void {
    this.#silence.heard(message.kind === "status");
    this.#heard = performance.now();
    switch (message.kind) {
      case "ready":
        this.#isReady = true;
        this.#answered({ endedWith: undefined });
        break;
      case "failed":
        this.#answered(new ConfigError(message.path, message.message));
        break;
      case "status":
        this.#status = message.status;
        this.#events.onStatus(message.status);
        break;
      default:
        this.#events.onMessage(message, socket);
    }
  }

  #onceEnded(act: (how: string) => void): void {
    const child = this.#child;
    // A worker's last messages arrive after its exit. Handled later, they would bring back sessions that ended with it.
    child.once("exit", (code, signal) => {
      const how = signal ?? `code ${code}`;
      if (child.channel) child.once("disconnect", () => act(how));
      else act(how);
    });
    // Without a pid the system could not start the process. After other errors its exit follows.
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined && !this.#hasEnded) act(error.code ?? error.name);
    });
  }

  #end(how: string): void {
    this.#hasEnded = true;
    this.#status = undefined;
    this.#silence.stop();
    for (const settle of this.#unanswered.splice(0)) settle({ endedWith: how });
    const lastCall = how.startsWith("SIG") && this.#callRecord ? readLastCall(this.#callRecord, this.pid) : undefined;
    if (this.#callRecord) closeSync(this.#callRecord);
    this.#events.onEnd(how, lastCall);
  }
}

/** Undefined: there is no descriptor for it. The worker goes without, and says so. */
function makeRecord(): number | undefined {
  try {
    return makeCallRecord();
  } catch {
    return undefined;
  }
}
