import type { ThreadState } from "../linux/process-state.ts";

/** Tells a process that hangs from one that has not been given the CPU. */

export interface Silence {
  /** Someone waits for the process, for so many ms; undefined: no longer. One that has not reported yet has its longer time. */
  expect(wait: number | undefined): void;
  /** It has said something. `isReport`: what it says once a second. */
  heard(isReport: boolean): void;
  stop(): void;
}

export interface SilenceOptions {
  /** ms without a word after which the process is looked at. */
  readonly silence: number;
  /** The same before its first word. */
  readonly first: number;
  /** ms between two looks. */
  readonly between?: number;
  look(): ThreadState | undefined;
  /** It waits for the CPU. Called once in each silence. */
  onStarved(): void;
  onHang(why: string): void;
}

/** ms of CPU time of a main thread that has said nothing meanwhile: it is busy with one thing. */
const BUSY = 5_000;
/** ms of silence after which only a process that waits for the CPU is spared. */
const LONGEST = 30_000;
const BETWEEN = 1_000;
/** Looks in a row that must find it hanging. */
const LOOKS = 2;

interface Examination {
  /** When the silence began. */
  readonly began: number;
  readonly before: ThreadState | undefined;
  /** Looks in a row that found it hanging. */
  readonly hangs: number;
  readonly starved: boolean;
}

/** Why a process hangs; undefined: it may go on. `before` is the look before this one, `last` the last one before the silence. */
export function judgeSilence(
  now: ThreadState | undefined,
  { before, last, silent }: { readonly before?: ThreadState; readonly last?: ThreadState; readonly silent: number },
): string | undefined {
  const why = "it says nothing";
  if (!now || !before) return silent >= LONGEST ? why : undefined;
  if (now.state === "T" || now.state === "t") return "it is stopped";
  if (now.cpu - (last ?? before).cpu >= BUSY) return "it is busy with one thing";
  // It wakes once a second to report, unless it cannot.
  if (now.state === "S" && before.state === "S" && now.cpu === before.cpu) return "it waits for something";
  // A disk may be slow. What is ready to run waits for the CPU.
  return silent >= LONGEST && now.state !== "R" ? why : undefined;
}

/**
 * Calls `onHang` once `heard` was not called for `silence` ms and the process then hangs. When this process itself was held up, its
 * timer fires before the messages that have arrived meanwhile are heard: they get one more turn. No clock is asked whether the time is over:
 * a timer that fires early by it would fire no more.
 */
export function watchSilence(options: SilenceOptions): Silence {
  const { silence, first, between = BETWEEN, look, onStarved, onHang } = options;
  let hasReported = false;
  let last: ThreadState | undefined;
  let looking: NodeJS.Timeout | NodeJS.Immediate | undefined;
  let wait = Math.max(first, silence);

  function listen(): NodeJS.Timeout {
    return setTimeout(() => {
      const began = performance.now() - wait;
      looking = setImmediate(() => examine({ began, before: look(), hangs: 0, starved: false }));
    }, wait).unref();
  }

  function examine({ began, before, hangs, starved }: Examination): void {
    looking = setTimeout(() => {
      const now = look();
      const silent = performance.now() - began;
      const why = judgeSilence(now, { ...(before && { before }), ...(last && { last }), silent });
      if (why !== undefined && hangs + 1 >= LOOKS) return onHang(why);
      const isStarved = why === undefined && now?.state === "R";
      if (isStarved && !starved) onStarved();
      examine({ began, before: now, hangs: why === undefined ? 0 : hangs + 1, starved: starved || isStarved });
    }, between).unref();
  }

  function stop(): void {
    clearTimeout(timer);
    clearTimeout(looking as NodeJS.Timeout | undefined);
    clearImmediate(looking as NodeJS.Immediate | undefined);
    looking = undefined;
  }

  function again(): void {
    stop();
    timer = listen();
  }

  let timer = listen();
  return {
    expect(wanted) {
      if (!hasReported) return;
      wait = wanted === undefined ? silence : Math.min(wanted, silence);
      again();
    },
    heard(isReport) {
      if (isReport) last = look();
      if (looking || !hasReported) {
        if (!hasReported) wait = silence;
        hasReported = true;
        again();
      } else timer.refresh();
    },
    stop,
  };
}
