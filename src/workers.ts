import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { ConfigError } from "./errors.ts";
import { log } from "./log.ts";
import type { FromWorker, ToWorker, WorkerSetup, WorkerStatus } from "./messages.ts";

/** The processes that carry sessions: started, told, watched, and started again when they die. */
export interface Workers {
  readonly count: number;
  /** Starts them. Throws ConfigError when one cannot use its setup; then none runs. */
  start(make: (worker: number) => WorkerSetup): Promise<void>;
  /** Gives every worker a new setup. Throws ConfigError when one of them cannot use it. */
  setup(make: (worker: number) => WorkerSetup): Promise<void>;
  tell(message: ToWorker): void;
  list(): readonly WorkerState[];
  /** Resolves when the last has ended; live sessions had their time to end. `drain` in ms. */
  stop(drain: number): Promise<void>;
}

export interface WorkerState {
  readonly id: number;
  readonly pid: number;
  readonly startedAt: number;
  readonly restarts: number;
  readonly status: WorkerStatus | undefined;
}

export interface WorkerEvents {
  /** What a worker says and is not about its own life. */
  onMessage(message: FromWorker, reply: (message: ToWorker) => void): void;
  /** A worker died: its sessions ended with it. */
  onDeath(worker: number): void;
}

interface Slot {
  process: ChildProcess;
  startedAt: number;
  restarts: number;
  status: WorkerStatus | undefined;
  /** Somebody waits for "ready" or "failed". */
  settle: ((failure: ConfigError | undefined) => void) | undefined;
}

/** A worker that dies at once must not keep the machine busy with restarts. In ms. */
const RESTART = { first: 100, longest: 5_000, healthyAfter: 30_000 };
/** How long a worker may take over its drain time before it is killed, in ms. */
const GRACE = 3_000;

export function createWorkers(count: number, events: WorkerEvents): Workers {
  let current: (worker: number) => WorkerSetup;
  let stopping = false;
  const slots: Slot[] = [];

  const launch = (worker: number, restarts: number): Slot => {
    const child = fork(fileURLToPath(new URL("main.ts", import.meta.url)), { serialization: "advanced" });
    const slot: Slot = { process: child, startedAt: Date.now(), restarts, status: undefined, settle: undefined };
    slots[worker] = slot;
    child.on("message", (message: FromWorker) => {
      if (message.kind === "ready") slot.settle?.(undefined);
      else if (message.kind === "failed") slot.settle?.(new ConfigError(message.path, message.message));
      else if (message.kind === "status") slot.status = message.status;
      else events.onMessage(message, (reply) => send(slot, reply));
    });
    child.once("exit", (code, signal) => onExit(worker, slot, signal ?? `code ${code}`));
    return slot;
  };

  const onExit = (worker: number, slot: Slot, how: string) => {
    slot.settle?.(new ConfigError("workers", `Cannot start worker ${worker}: it ended with ${how}`));
    events.onDeath(worker);
    if (stopping) return;
    const healthy = Date.now() - slot.startedAt > RESTART.healthyAfter;
    const delay = healthy ? 0 : Math.min(RESTART.first * 2 ** Math.min(slot.restarts, 10), RESTART.longest);
    log.error({ worker, pid: slot.process.pid, how, restartIn: delay }, "A worker died; its sessions were reset");
    setTimeout(() => {
      if (stopping) return;
      const again = launch(worker, slot.restarts + 1);
      setUp(again, current(worker)).catch((error: Error) => {
        log.error({ worker, error: error.message }, "A worker could not start again");
        again.process.kill("SIGKILL");
      });
    }, delay);
  };

  const all = async (next: (worker: number) => WorkerSetup) => {
    const outcomes = await Promise.allSettled(slots.map((slot, worker) => setUp(slot, next(worker))));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  };

  const stop = async (drain: number) => {
    stopping = true;
    const ended = slots.map(
      ({ process: child }) =>
        new Promise<void>((resolve) => {
          if (child.exitCode !== null || child.signalCode !== null) return resolve();
          child.once("exit", () => resolve());
          const timer = setTimeout(() => child.kill("SIGKILL"), drain + GRACE);
          child.once("exit", () => clearTimeout(timer));
        }),
    );
    for (const slot of slots) send(slot, { kind: "stop" });
    await Promise.all(ended);
  };

  return {
    count,
    async start(make) {
      current = make;
      for (let worker = 0; worker < count; worker += 1) launch(worker, 0);
      try {
        await all(make);
      } catch (error) {
        stopping = true;
        for (const { process: child } of slots) child.kill("SIGKILL");
        throw error;
      }
    },
    async setup(next) {
      const before = current;
      current = next;
      try {
        await all(next);
      } catch (error) {
        // Some workers have the new setup, one has not: all go back to what worked.
        current = before;
        await all(before);
        throw error;
      }
    },
    tell(message) {
      for (const slot of slots) send(slot, message);
    },
    list: () =>
      slots.map(({ process: child, startedAt, restarts, status }, id) => ({
        id,
        pid: child.pid ?? 0,
        startedAt,
        restarts,
        status,
      })),
    stop,
  };
}

function setUp(slot: Slot, setup: WorkerSetup): Promise<void> {
  return new Promise((resolve, reject) => {
    slot.settle = (failure) => {
      slot.settle = undefined;
      if (failure) reject(failure);
      else resolve();
    };
    send(slot, { kind: "setup", setup });
  });
}

function send({ process: child }: Slot, message: ToWorker): void {
  // A worker that is dying takes no message; what it was asked is asked again when it is back.
  if (child.connected) child.send(message, () => {});
}
