import { signal } from "@preact/signals";
import { clock, dayAndTime, distance, utc } from "../format.ts";

/** The time that distances are counted from, moved on every five seconds. */
export const now = signal(Date.now());
setInterval(() => {
  now.value = Date.now();
}, 5000);

interface Props {
  /** ms since the epoch. */
  readonly at: number;
  readonly as?: "clock" | "distance" | "full";
}

/** Local time, with the day and UTC on hover. */
export function Time({ at, as = "clock" }: Props) {
  const shown = as === "clock" ? clock(at) : as === "full" ? dayAndTime(at) : distance(at, now.value);
  return (
    <time dateTime={new Date(at).toISOString()} title={`${dayAndTime(at)} · ${utc(at)}`}>
      {shown}
    </time>
  );
}
