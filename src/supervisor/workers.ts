import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { ConfigError } from "../errors.ts";
import { log } from "../log.ts";
import type { FromWorker, SessionNews, ToWorker, WorkerSetup, WorkerStatus } from "../messages.ts";

/** The processes that carry sessions: started, told, watched, and started again when they die. */
export interface Workers {
  readonly count: number;
  /** Starts them. Throws ConfigError when one cannot use its setup; then none runs. */
  start(make: (worker: number) => WorkerSetup): Promise<void>;
  /** Gives every worker a new setup. Throws ConfigError when one of them cannot use it. */
  setup(make: (worker: number) => WorkerSetup): Promise<void>;
  tell(message: ToWorker): void;
  /** To one of them; a connection that goes with it is closed here once it is there. */
  send(worker: number, message: ToWorker, socket?: Socket): void;
  list(): readonly ListedWorker[];
  /** Resolves when the last has ended; live sessions had their time to end. `drain` in ms. */
  stop(drain: number): Promise<void>;
}

export interface ListedWorker {
  readonly id: number;
  readonly pid: number;
  readonly startedAt: number;
  /** Over the node's whole life. */
  readonly restarts: number;
  readonly status: WorkerStatus | undefined;
}

export interface WorkerEvents {
  /** A worker reports about its sessions. `socket`: the connection that it hands over. */
  onMessage(message: SessionNews, worker: number, socket: Socket | undefined): void;
  /** A worker reports its state, once a second. */
  onStatus(status: WorkerStatus, worker: number): void;
  /** A worker died: its sessions ended with it. */
  onDeath(worker: number): void;
}

interface Slot {
  process: ChildProcess;
  startedAt: number;
  restarts: number;
  /** Of them in a row, without one that ran well in between. */
  readonly failures: number;
  status: WorkerStatus | undefined;
  /** Who waits for "ready" or "failed", in the order in which their setups were sent. */
  readonly waiting: ((failure: ConfigError | undefined) => void)[];
  /** Its process has ended and all that it said has been heard. */
  over: boolean;
  readonly ended: Promise<void>;
}

/** Name look-ups and each inline listener's queue of held SYNs take a thread while they wait; Node's four are soon taken. */
const THREADS = "16";

/** A worker that dies at once must not keep the machine busy with restarts. In ms. */
const RESTART = { first: 100, longest: 5_000, healthyAfter: 30_000 };
/** How long a worker may take over its drain time before it is killed, in ms. */
const GRACE = 3_000;

/**
 * A worker tells of itself every second. One that says nothing for this time, in ms, hangs, and its sessions with it. A new one has
 * to be loaded before it can say anything, which takes its time on a machine that is busy.
 */
const SILENCE = 30_000;
const FIRST_WORD = 120_000;

export function createWorkers(count: number, events: WorkerEvents, silence: number = SILENCE): Workers {
  let current: (worker: number) => WorkerSetup;
  let stopping = false;
  const slots: Slot[] = [];

  const launch = (worker: number, restarts = 0, failures = 0): Slot => {
    const child = fork(fileURLToPath(new URL("../worker/main.ts", import.meta.url)), {
      serialization: "advanced",
      env: { ...process.env, UV_THREADPOOL_SIZE: THREADS },
    });
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const slot: Slot = {
      process: child,
      startedAt: Date.now(),
      restarts,
      failures,
      status: undefined,
      waiting: [],
      over: false,
      ended,
    };
    slots[worker] = slot;
    let watch = watchSilence(child, worker, Math.max(FIRST_WORD, silence));
    child.once("message", () => {
      watch.stop();
      watch = watchSilence(child, worker, silence);
    });
    child.on("message", (message: FromWorker, socket: Socket | undefined) => {
      watch.heard();
      switch (message.kind) {
        case "ready":
          slot.waiting.shift()?.(undefined);
          break;
        case "failed":
          slot.waiting.shift()?.(new ConfigError(message.path, message.message));
          break;
        case "status":
          slot.status = message.status;
          events.onStatus(message.status, worker);
          break;
        default:
          events.onMessage(message, worker, socket);
      }
    });
    const onceOver = (how: string) => {
      if (slot.over) return;
      slot.over = true;
      // It carries nothing any more: until another is in its place nobody does.
      slot.status = undefined;
      watch.stop();
      onEnd(worker, slot, how);
      resolve();
    };
    // What a worker said last is heard after its exit: were its sessions dropped before, late news would bring them back to life.
    child.once("exit", (code, signal) => {
      const how = signal ?? `code ${code}`;
      if (child.channel) child.once("disconnect", () => onceOver(how));
      else onceOver(how);
    });
    // The system had no process to give. Other errors, of a message or a signal to a process that ends, are followed by its exit.
    child.on("error", (error: NodeJS.ErrnoException) => {
      if (child.pid === undefined) onceOver(error.code ?? error.name);
    });
    return slot;
  };

  const onEnd = (worker: number, slot: Slot, how: string) => {
    const failure = new ConfigError("workers", `Cannot start worker ${worker}: it ended with ${how}`);
    for (const settle of slot.waiting.splice(0)) settle(failure);
    events.onDeath(worker);
    if (stopping) return;
    const { delay, failures } = restartAfter(Date.now() - slot.startedAt, slot.failures);
    log.error({ worker, pid: slot.process.pid, how, restartIn: delay }, "A worker died; its sessions were reset");
    setTimeout(() => {
      if (stopping) return;
      const again = launch(worker, slot.restarts + 1, failures);
      setUp(again, current(worker)).catch((error: Error) => {
        log.error({ worker, error: error.message }, "A worker could not start again");
        again.process.kill("SIGKILL");
      });
    }, delay).unref();
  };

  const all = async (next: (worker: number) => WorkerSetup) => {
    // One that is dead is given the setup of the moment when it is back: nobody waits for it.
    const alive = [...slots.entries()].filter(([, slot]) => !slot.over);
    const outcomes = await Promise.allSettled(alive.map(([worker, slot]) => setUp(slot, next(worker))));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw failed.reason;
  };

  const stop = async (drain: number) => {
    stopping = true;
    for (const slot of slots) send(slot, { kind: "stop" });
    const timer = setTimeout(() => {
      for (const { process: child } of slots) child.kill("SIGKILL");
    }, drain + GRACE);
    await Promise.all(slots.map(({ ended }) => ended));
    clearTimeout(timer);
  };

  return {
    count,
    async start(make) {
      current = make;
      for (let worker = 0; worker < count; worker += 1) launch(worker);
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
    send(worker, message, socket) {
      const slot = slots[worker];
      if (slot?.process.connected) send(slot, message, socket);
      else socket?.destroy();
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

/** Kills a worker that says nothing for `silence` ms. */
function watchSilence(child: ChildProcess, worker: number, silence: number) {
  let silent = false;
  const look = () => {
    if (!silent) return;
    log.error({ worker, pid: child.pid, silence }, "A worker hangs; it is killed");
    child.kill("SIGKILL");
  };
  // A supervisor that was kept from running hears of what was said only after its timers. No clock is asked whether the time is
  // really over: timers count from the beginning of the loop's turn, and one that came early by it would be the last.
  const timer = setTimeout(() => {
    silent = true;
    setImmediate(look);
  }, silence).unref();
  return {
    heard() {
      silent = false;
      timer.refresh();
    },
    stop() {
      silent = false;
      clearTimeout(timer);
    },
  };
}

/**
 * When a worker that lived for `lived` ms is started again, in ms: at once when it ran well, else the later the more have died in
 * a row. `failures`: of those before it, and with the answer, with it.
 */
export function restartAfter(lived: number, failures: number): { readonly delay: number; readonly failures: number } {
  if (lived > RESTART.healthyAfter) return { delay: 0, failures: 0 };
  return { delay: Math.min(RESTART.first * 2 ** Math.min(failures, 10), RESTART.longest), failures: failures + 1 };
}

function setUp(slot: Slot, setup: WorkerSetup): Promise<void> {
  return new Promise((resolve, reject) => {
    slot.waiting.push((failure) => (failure ? reject(failure) : resolve()));
    send(slot, { kind: "setup", setup });
  });
}

function send({ process: child }: Slot, message: ToWorker, socket?: Socket): void {
  // A worker that is dying takes no message; what it was asked is asked again when it is back.
  if (child.connected) child.send(message, socket, undefined, () => {});
}
