import { InvalidArgumentError } from "commander";

/** A time on the command line: "30min" ago, "2026-11-28", "2026-11-28T14:00" in this machine's time zone. In ms since the epoch, as text. */
export function readTime(text: string): string {
  const [, amount, unit] = /^(\d{1,6})\s?(s|min|h|d)$/.exec(text) ?? [];
  if (amount !== undefined) return String(Date.now() - Number(amount) * UNITS[unit as keyof typeof UNITS]);
  if (/^\d{10,16}$/.test(text)) return text;
  // A date alone would be one of UTC.
  const local = /^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00` : text.replace(" ", "T");
  const time = /^\d{4}-\d{2}-\d{2}T/.test(local) ? Date.parse(local) : Number.NaN;
  if (Number.isFinite(time)) return String(time);
  throw new InvalidArgumentError("It must be a time such as 30min, 1h, 2d, 2026-11-28 or 2026-11-28T14:00.");
}

const UNITS = { s: 1_000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const;
