import type { Socket } from "node:net";
import { ConfigError, NetworkError } from "../errors.ts";
import { log } from "../log.ts";
import type { SessionNews, ToWorker, WorkerSetup, WorkerStatus } from "../messages.ts";
import { type Shared, WorkerProcess } from "./worker-process.ts";

export interface ListedWorker {
  readonly id: number;
  readonly pid: number;
  readonly startedAt: number;
  /** Since the node started. */
  readonly restarts: number;
  /** It lives, listens, and reports. */
  readonly accepts: boolean;
  readonly status: WorkerStatus | undefined;
}

export interface WorkerEvents {
  /** A worker reports about its sessions. `socket`: the connection that it hands over. */
  onMessage(message: SessionNews, worker: number, socket: Socket | undefined): void;
  /** A worker reports its state, once a second. */
  onStatus(status: WorkerStatus, worker: number): void;
  /** A worker died: its sessions ended with it. `how`: its exit code or signal; undefined: the node stops. */
  onDeath(worker: number, how: string | undefined): void;
}

/** A worker that dies at once must not keep the machine busy with restarts. In ms. */
const RESTART = { first: 100, longest: 5_000, healthyAfter: 30_000 };
/** How long a worker may take over its drain time before it is killed, in ms. */
const GRACE = 3_000;
/** A worker reports every second. After this time, in ms, without a report it is looked at twice, and killed if it hangs. */
const SILENCE = 8_000;

/** A worker that ended before it used its setup. */
interface Ended {
  readonly worker: number;
  readonly endedWith: string;
}

function noneTookIt({ worker, endedWith }: Ended): ConfigError {
  const why = `no worker took the configuration, worker ${worker} ended with ${endedWith}`;
  return new ConfigError("workers", `Cannot reload: ${why}; the workers are started again, so try again`);
}

/** Nothing in the configuration is wrong: a later attempt may succeed. */
function cannotStart({ worker, endedWith }: Ended): ConfigError {
  const cause = new NetworkError(`The worker ended with ${endedWith}`, "EAGAIN");
  return new ConfigError("workers", `Cannot start worker ${worker}: it ended with ${endedWith}`, { cause });
}

/** What is remembered of a worker beyond the death of its process. */
interface Restarts {
  restarts: number;
  /** Deaths in a row, each soon after the start. */
  failures: number;
}

/** The processes that carry sessions: started, given their setups, watched, and started again when they die. */
export class Workers {
  readonly count: number;
  readonly #events: WorkerEvents;
  readonly #silence: number;
  readonly #shared: Shared;
  readonly #processes: WorkerProcess[] = [];
  readonly #restarts: Restarts[];
  /** Makes the setup that all workers have. */
  #setupFor: ((worker: number) => WorkerSetup) | undefined;
  #isStopping = false;

  constructor(
    count: number,
    events: WorkerEvents,
    { silence = SILENCE, inherited = [], readErrors, diskHangs }: { readonly silence?: number } & Partial<Shared> = {},
  ) {
    this.count = count;
    this.#events = events;
    this.#silence = silence;
    this.#shared = { inherited, readErrors, diskHangs };
    this.#restarts = Array.from({ length: count }, () => ({ restarts: 0, failures: 0 }));
  }

  /** Starts them. Throws ConfigError when one cannot use its setup; then none runs. */
  async start(setupFor: (worker: number) => WorkerSetup): Promise<void> {
    this.#setupFor = setupFor;
    for (let worker = 0; worker < this.count; worker += 1) this.#launch(worker);
    try {
      const [first] = await this.#setUpAll(setupFor);
      if (first) throw cannotStart(first);
    } catch (error) {
      this.#isStopping = true;
      this.#killAll();
      throw error;
    }
  }

  /**
   * Gives every worker a new setup. The answer: the workers that hung or died meanwhile, and get it when they are started again. Throws
   * ConfigError when one cannot use it, or none survives it; then all go back to the one before.
   */
  async setup(setupFor: (worker: number) => WorkerSetup): Promise<readonly number[]> {
    const before = this.#setupFor!;
    this.#setupFor = setupFor;
    try {
      const alive = this.#alive().length;
      const ended = await this.#setUpAll(setupFor);
      if (ended.length > 0 && ended.length === alive) throw noneTookIt(ended[0]!);
      return ended.map(({ worker }) => worker);
    } catch (error) {
      log.error({ error: (error as Error).message }, "The workers go back to the configuration before");
      this.#setupFor = before;
      await this.#setUpAll(before);
      throw error;
    }
  }

  tell(message: ToWorker): void {
    for (const worker of this.#processes) worker.send(message);
  }

  /** To one of them; a connection that goes with the message is closed here once it has arrived. False: it has ended. */
  send(worker: number, message: ToWorker, socket?: Socket): boolean {
    const process = this.#processes[worker];
    if (process) return process.send(message, socket);
    socket?.destroy();
    return false;
  }

  list(): readonly ListedWorker[] {
    return this.#processes.map(({ pid, startedAt, accepts, status }, id) => {
      const { restarts } = this.#restarts[id]!;
      return { id, pid, startedAt, restarts, accepts, status };
    });
  }

  /** Resolves when the last process has ended. Live sessions have `drain` ms to end. */
  async stop(drain: number): Promise<void> {
    this.#isStopping = true;
    this.tell({ kind: "stop" });
    const timer = setTimeout(() => this.#killAll(), drain + GRACE);
    await Promise.all(this.#processes.map(({ ended }) => ended));
    clearTimeout(timer);
  }

  #launch(worker: number): WorkerProcess {
    const process = new WorkerProcess(
      worker,
      this.#silence,
      {
        onMessage: (message, socket) => this.#events.onMessage(message, worker, socket),
        onStatus: (status) => this.#events.onStatus(status, worker),
        onEnd: (how, lastCall) => {
          this.#events.onDeath(worker, this.#isStopping ? undefined : how);
          if (!this.#isStopping) this.#restartLater(worker, process, how, lastCall);
        },
      },
      this.#shared,
    );
    this.#processes[worker] = process;
    return process;
  }

  #restartLater(worker: number, { pid, startedAt }: WorkerProcess, how: string, lastCall?: string): void {
    const restarts = this.#restarts[worker]!;
    const { delay, failures } = restartAfter(Date.now() - startedAt, restarts.failures);
    restarts.failures = failures;
    log.error(
      { worker, pid, how, ...(lastCall && { lastCall }), restartIn: delay },
      "A worker died; its sessions were reset",
    );
    setTimeout(() => {
      if (this.#isStopping) return;
      restarts.restarts += 1;
      const process = this.#launch(worker);
      process.setUp(this.#setupFor!(worker)).catch((error: Error) => {
        log.error({ worker, error: error.message }, "Cannot set up a restarted worker; it is killed");
        process.kill();
      });
    }, delay).unref();
  }

  /**
   * Waits for no dead worker: it gets the setup of the moment when it is started again. The answer: the workers that ended before they
   * used it.
   */
  async #setUpAll(setupFor: (worker: number) => WorkerSetup): Promise<Ended[]> {
    const alive = this.#alive();
    const outcomes = await Promise.allSettled(alive.map(([worker, process]) => process.setUp(setupFor(worker))));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
    return alive.flatMap(([worker], at) => {
      const outcome = outcomes[at]!;
      const endedWith = outcome.status === "fulfilled" ? outcome.value.endedWith : undefined;
      return endedWith === undefined ? [] : [{ worker, endedWith }];
    });
  }

  #alive(): (readonly [worker: number, process: WorkerProcess])[] {
    return [...this.#processes.entries()].filter(([, { hasEnded }]) => !hasEnded);
  }

  #killAll(): void {
    for (const process of this.#processes) process.kill();
  }
}

/**
 * The delay in ms before a worker is started again that lived for `lived` ms: none when it ran well, else the longer the more
 * have died in a row. `failures` counts those: the argument those before this one, the answer this one too.
 */
export function restartAfter(lived: number, failures: number): { readonly delay: number; readonly failures: number } {
  if (lived > RESTART.healthyAfter) return { delay: 0, failures: 0 };
  return { delay: Math.min(RESTART.first * 2 ** Math.min(failures, 10), RESTART.longest), failures: failures + 1 };
}
