import { T } from "./texts.ts";

/** Numbers with units, and times in the reader's zone with UTC beside them. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const TIME = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const DAY_AND_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export function number(value: number): string {
  return WHOLE.format(value);
}

export function bytes(value: number): string {
  for (const [size, unit] of [
    [2 ** 30, "GiB"],
    [2 ** 20, "MiB"],
    [2 ** 10, "KiB"],
  ] as const) {
    if (value >= size)
      return `${value >= size * 100 ? WHOLE.format(value / size) : SHORT.format(value / size)} ${unit}`;
  }
  return `${WHOLE.format(value)} B`;
}

/** A length of time in ms. */
export function duration(ms: number): string {
  if (ms < 1000) return `${WHOLE.format(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${SHORT.format(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return T.units.days(WHOLE.format(hours / 24));
}

/** How long ago, or in how long. `now` and `at` in ms since the epoch. */
export function distance(at: number, now: number): string {
  const length = Math.abs(at - now);
  const text = length < 60_000 ? `${WHOLE.format(length / 1000)} s` : duration(length).replace(/ \d+ (s|min)$/, "");
  return at <= now ? T.units.ago(text) : T.units.until(text);
}

export function clock(at: number): string {
  return TIME.format(at);
}

export function dayAndTime(at: number): string {
  return DAY_AND_TIME.format(at);
}

export function utc(at: number): string {
  return `${new Date(at)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "")} UTC`;
}

export function endpoint(end: { readonly address: string; readonly port: number } | null): string {
  if (!end) return "";
  return end.address.includes(":") ? `[${end.address}]:${end.port}` : `${end.address}:${end.port}`;
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? "0 %" : `${WHOLE.format((part / whole) * 100)} %`;
}
