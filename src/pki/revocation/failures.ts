import { Cache } from "../../cache.ts";

/** A source that could not be used the last time. Times in ms since the epoch. */
export interface Failure {
  /** Why: one sentence without its end. */
  readonly reason: string;
  /** How often in a row. */
  readonly times: number;
  /** When it may be asked again. */
  readonly again: number;
}

/** By URL, or by origin if nobody answered there at all. */
export type Failures = Cache<Failure>;

const MAX_FAILURES = 1_000;

export function createFailures(): Failures {
  return new Cache({ entries: MAX_FAILURES, bytes: 2 ** 20, sizeOf: ({ reason }) => reason.length });
}

/** ms after the first failure; each further one doubles it. A silent source costs its whole timeout each time. */
const FIRST_PAUSE = 30_000;
const LONGEST_PAUSE = 3_600_000;
/** ms that a failure is remembered beyond its pause. */
const MEMORY = 86_400_000;

export function failureOf(url: string, failures: Failures, now: number): Failure | undefined {
  return failures.find(new URL(url).origin, now) ?? failures.find(url, now);
}

/** `began`: when the request did that failed. Requests that began before the last failure are part of it. */
export function noteFailure(
  name: string,
  reason: string,
  failures: Failures,
  { began, now }: { readonly began: number; readonly now: number },
): void {
  const last = failures.find(name, now);
  if (last && last.again > began) return;
  const times = (last?.times ?? 0) + 1;
  const again = now + Math.min(FIRST_PAUSE * 2 ** (times - 1), LONGEST_PAUSE);
  failures.keep(name, { reason, times, again }, again + MEMORY);
}
