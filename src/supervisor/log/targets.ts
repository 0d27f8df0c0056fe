import type { Readable } from "node:stream";
import type { LogTarget } from "../../config/log-section.ts";
import { log, sendLogTo, stderr } from "../../log.ts";
import { createFileTarget } from "./file.ts";
import { readLine, type Target } from "./line.ts";
import { RecentLines } from "./recent.ts";
import { createStderrTarget } from "./stderr.ts";
import { createSyslogTarget } from "./syslog.ts";

/** ms between two lines about lines that were left out. */
const REPORT = 60_000;
/** The longest line that is read of a worker, in characters. */
const LONGEST = 256 * 1024;

/** Where the lines of all processes of this node go. */
export interface LogTargets {
  readonly dropped: readonly { readonly target: string; readonly lines: number }[];
  /** Those that take no lines now. */
  readonly stopped: readonly { readonly target: string; readonly reason: string }[];
  /** For the API. */
  readonly recent: RecentLines;
  /** Reads what a worker writes to its standard error. */
  readWorker(stream: Readable): void;
  close(): Promise<void>;
}

/** From now on the log goes to these targets. `trust`: the roots of syslog servers, by the target's index. */
export async function openTargets(
  targets: readonly LogTarget[],
  trust: ReadonlyMap<number, string>,
): Promise<LogTargets> {
  const open = await Promise.all(targets.map((target, index) => openTarget(target, trust.get(index))));
  const recent = new RecentLines();
  const take = (text: string) => {
    const line = readLine(text);
    // What is no line of the log is a crash's last words. A reader that hangs must not hold up the supervisor.
    if (line) {
      recent.take(line);
      for (const target of open) target.take(line);
    } else if (text !== "") stderr.take(`${text}\n`);
  };
  sendLogTo((text) => take(text.trimEnd()));
  const reported = new Map<Target, number>();
  const report = setInterval(() => {
    for (const target of open) {
      const lines = target.dropped - (reported.get(target) ?? 0);
      reported.set(target, target.dropped);
      if (lines > 0)
        log.warn({ target: target.name, lines }, "Log lines were left out: the target is too slow, or away");
    }
  }, REPORT).unref();
  return {
    recent,
    get dropped() {
      return open.map((target) => ({ target: target.name, lines: target.dropped }));
    },
    get stopped() {
      return open.flatMap(({ name, stopped }) => (stopped === undefined ? [] : [{ target: name, reason: stopped }]));
    },
    readWorker(stream) {
      splitLines(stream, take);
    },
    async close() {
      clearInterval(report);
      await Promise.all(open.map((target) => target.close()));
    },
  };
}

/** A worker that was taken over may send anything: a line that is too long is cut. */
export function splitLines(stream: Readable, take: (line: string) => void): void {
  let unread = "";
  let isCut = false;
  stream.setEncoding("utf8").on("data", (text: string) => {
    const [first = "", ...others] = text.split("\n");
    for (const part of [first, ...others].slice(0, -1)) {
      if (!isCut) take(unread + part);
      unread = "";
      isCut = false;
    }
    // The last part has no line end yet.
    if (!isCut) unread += others.at(-1) ?? first;
    if (unread.length <= LONGEST) return;
    take(unread.slice(0, LONGEST));
    unread = "";
    isCut = true;
  });
  stream.on("end", () => unread !== "" && take(unread));
  stream.on("error", () => {});
}

async function openTarget(target: LogTarget, trust: string | undefined): Promise<Target> {
  switch (target.kind) {
    case "stderr":
      return createStderrTarget(target);
    case "file":
      return createFileTarget(target);
    case "syslog":
      return createSyslogTarget({ ...target, trust });
  }
}
