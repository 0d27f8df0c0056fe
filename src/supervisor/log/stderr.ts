import { fstatSync } from "node:fs";
import { stderr } from "../../log.ts";
import { SEVERITIES, type Target } from "./line.ts";

type Format = "auto" | "text" | "json";

/** Standard error: text for people on a terminal, otherwise JSON, with priorities in systemd's journal. */
export async function createStderrTarget({ format }: { readonly format: Format }): Promise<Target> {
  const asText = format === "text" || (format === "auto" && process.stderr.isTTY === true);
  const render = asText ? await textRenderer() : (json: string) => `${json}\n`;
  const inJournal = isJournal(process.env["JOURNAL_STREAM"], 2);
  return {
    name: "stderr",
    get dropped() {
      return stderr.dropped;
    },
    take({ json, level }) {
      const text = render(json);
      stderr.take(inJournal ? withPriority(text, SEVERITIES[level]) : text);
    },
    // The rest is written when the process ends.
    close: async () => {},
  };
}

/** sd-daemon(3): the journal reads the priority of each line. */
export function withPriority(text: string, severity: number): string {
  return text.replaceAll(/^(?=.)/gm, `<${severity}>`);
}

/** systemd.exec(5): JOURNAL_STREAM names the device and the inode of the stream that the journal reads. */
export function isJournal(stream: string | undefined, fd: number): boolean {
  if (stream === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd);
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/** Loaded only for a terminal. Names and certificates may hold a terminal's control sequences: JSON escapes most of them. */
export async function textRenderer(): Promise<(json: string) => string> {
  const { prettyFactory } = await import("pino-pretty");
  const pretty = prettyFactory({
    colorize: process.stderr.isTTY === true && !process.env["NO_COLOR"],
    ignore: "pid,hostname,name",
    translateTime: "SYS:HH:MM:ss",
    singleLine: true,
  });
  return (json) => {
    try {
      return `${plain(pretty(shortened(json)).trimEnd())}\n`;
    } catch {
      // A worker that was taken over may write anything.
      return `${plain(json)}\n`;
    }
  };
}

/** Of a session's line people read the verdict, the outcome and who spoke with whom. */
function shortened(json: string): string {
  const line = JSON.parse(json);
  if (line.ecs === undefined) return json;
  const { event, source, destination, network, clearline } = line;
  const { outcome, cause } = clearline;
  const why = cause === null ? "" : ` (${cause})`;
  const host = destination.domain ?? destination.ip ?? "nowhere";
  const msg = `${event.action ?? "none"}, ${outcome}${why}: ${source.ip} to ${host}, ${network.bytes} bytes, ${event.id}`;
  return JSON.stringify({ level: line.level, time: line.time, msg });
}

/** pino-pretty's colours stay. */
const COLOR = /(\p{Cc}\[\d{1,3}m)/u;
/** Control characters but tabs and line ends, and characters that reorder text or are invisible. */
const UNPRINTABLE = /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

export function plain(text: string): string {
  return text
    .split(COLOR)
    .map((part) => (COLOR.test(part) ? part : part.replace(UNPRINTABLE, "\ufffd")))
    .join("");
}
