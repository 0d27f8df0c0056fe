import type { Logger } from "pino";
import { reasonOf } from "./capture-file.ts";

/** Handles failures of a feed: the feed stops, logs it once, and is opened again after a while. */
export interface Recovery {
  /** Why the feed is stopped; undefined: it runs. */
  readonly stopped: string | undefined;
  /** Opens the feed for the first time. Never rejects. */
  start(): Promise<void>;
  /** Reports that the feed does not work any more. */
  fail(error: unknown): void;
  /** Makes no further attempt. Resolves once a running attempt has ended. */
  close(): Promise<void>;
}

const RETRY = 1_000;

/** `open` throws or rejects when the place cannot be opened. */
export function createRecovery(options: {
  readonly name: string;
  readonly place: string;
  /** Undefined: another worker logs it. */
  readonly log: Logger | undefined;
  readonly open: () => void | Promise<void>;
  /** ms between two attempts; 1 s when absent. */
  readonly retry?: number | undefined;
}): Recovery {
  const { name, place, log, open, retry = RETRY } = options;
  let stopped: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let attempting: Promise<void> | undefined;

  const attempt = (): Promise<void> => {
    attempting = tryToOpen();
    return attempting;
  };
  const tryToOpen = async (): Promise<void> => {
    try {
      await open();
      if (stopped !== undefined) log?.info({ feed: name, place }, "feed runs again");
      stopped = undefined;
    } catch (error) {
      fail(error);
    }
  };
  const fail = (error: unknown): void => {
    if (closed) return;
    if (stopped === undefined) log?.error({ feed: name, place }, `feed stopped: ${reasonOf(error)}`);
    stopped = reasonOf(error);
    clearTimeout(timer);
    timer = setTimeout(attempt, retry);
    timer.unref();
  };
  return {
    get stopped() {
      return stopped;
    },
    start: attempt,
    fail,
    async close() {
      closed = true;
      clearTimeout(timer);
      await attempting;
    },
  };
}
