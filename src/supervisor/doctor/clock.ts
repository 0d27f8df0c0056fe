import { statSync } from "node:fs";
import { join } from "node:path";
import { isClockKept } from "../../linux/clock.ts";
import { bad, type Finding, ok, warning } from "./check.ts";

/** Files that the node wrote: the clock cannot be before them. */
const WRITTEN = ["history.db", "lock", "node.json"];
/** ms that other machines' clocks may differ, for a data folder on another machine. */
const SLACK = 60_000;

/** Whether the machine's clock can be right: certificates are valid by it. */
export function checkClock(dataDir: string | undefined, now = Date.now()): Finding {
  const latest = Math.max(0, ...(dataDir === undefined ? [] : WRITTEN.map((name) => writtenAt(join(dataDir, name)))));
  const shown = new Date(now).toISOString().slice(0, 19);
  if (latest > now + SLACK) {
    const ahead = new Date(latest).toISOString().slice(0, 19);
    return bad(
      `It says ${shown} UTC, which is before the node's last write (${ahead})`,
      "Set the clock: certificates and records are dated by it",
    );
  }
  const kept = isClockKept();
  if (kept === false)
    return warning(`It says ${shown} UTC, and nothing keeps it right`, "Run NTP: systemd-timesyncd, chrony or ntpd");
  return ok(`It says ${shown} UTC${kept ? ", kept by NTP" : ""}`);
}

function writtenAt(file: string): number {
  try {
    return statSync(file).mtimeMs;
  } catch {
    return 0;
  }
}
