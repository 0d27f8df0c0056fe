import { InvalidArgumentError } from "commander";

/** Spans of time as options have them. */

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "30m", "24h", "90d" in ms. */
export function readSpan(text: string): number {
  const span = spanOf(text);
  if (span !== undefined) return span;
  throw new InvalidArgumentError("It must be a span of time such as 30m, 24h or 90d.");
}

/** ms since the epoch: so long ago, as in "24h", or at a date, as in "2026-11-28" or "2026-11-28 14:00". */
export function readSince(text: string): number {
  const span = spanOf(text);
  if (span !== undefined) return Math.max(Date.now() - span, 0);
  const time = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?$/.test(text)
    ? localTime(text)
    : Number.NaN;
  if (time >= 0) return time;
  throw new InvalidArgumentError("It must be a span of time such as 24h or 7d, or a date such as 2026-11-28 14:00.");
}

function spanOf(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  return unit === undefined ? undefined : Number(digits) * UNITS[unit]!;
}

/** A date alone is midnight here, not in UTC. */
function localTime(text: string): number {
  return Date.parse(text.length === 10 ? `${text}T00:00` : text.replace(" ", "T"));
}
