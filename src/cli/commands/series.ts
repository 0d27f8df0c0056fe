import type { Command } from "commander";
import type { SeriesAnswer } from "../../control/api.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { bytes, color, duration, print, printJson, shortTime, terminalWidth } from "../render.ts";
import { readSince } from "../spans.ts";

interface Options extends CommonOptions {
  readonly since?: number;
  readonly until?: number;
  readonly json?: true;
}

export function seriesCommand(): Command {
  return createCommand("series", "Show what the node did over time, as a small picture: sessions, failures, bytes…", [
    "series",
    "series --since 1h",
    "series --since 24h --json | jq '.series.serverFailed'",
  ])
    .option(
      "--since <time>",
      "from then on: 1h, 30m, 2026-11-28T14:00 (default: 24h, which is how far it goes back)",
      readSince,
    )
    .option("--until <time>", "to then, alike (default: now)", readSince)
    .option("--json", "print JSON")
    .action(async ({ config, json, since, until }: Options) => {
      const answer = await (await openClient(config)).ask<SeriesAnswer>("GET", `/series${queryOf({ since, until })}`);
      if (json) return printJson(answer, 2);
      print(...page(answer));
    });
}

/** One line of the picture. `of`: undefined: the node did not run then, or there was nothing to measure. */
interface Line {
  readonly title: string;
  readonly of: (step: Step) => number | undefined;
  /** How several steps become one bar. */
  readonly by: "rate" | "mean" | "max";
  /** A number as it is written; a rate is one per second. */
  readonly write: (value: number) => string;
  readonly paint: (text: string) => string;
}

type Step = (name: string) => number;

const FAILED = [
  "clientRefusedCertificate",
  "clientFailed",
  "serverFailed",
  "serverUnreachable",
  "toolFailed",
  "nodeFailed",
];

const perMinute = (value: number) => `${round(value * 60)}/min`;
const perSecond = (value: number) => `${bytes(value)}/s`;
const inMs = (value: number) => `${round(value)} ms`;

const LINES: readonly Line[] = [
  { title: "live", of: (step) => step("live"), by: "max", write: round, paint: color.blue },
  { title: "sessions", of: (step) => step("opened"), by: "rate", write: perMinute, paint: color.cyan },
  { title: "decrypted", of: (step) => step("decrypted"), by: "rate", write: perMinute, paint: color.green },
  { title: "bypassed", of: (step) => step("bypassed"), by: "rate", write: perMinute, paint: color.yellow },
  { title: "dropped", of: (step) => step("dropped"), by: "rate", write: perMinute, paint: color.magenta },
  {
    title: "failed",
    of: (step) => FAILED.reduce((sum, name) => sum + step(name), 0),
    by: "rate",
    write: perMinute,
    paint: color.red,
  },
  { title: "to clients", of: (step) => step("clientSent"), by: "rate", write: perSecond, paint: String },
  { title: "to servers", of: (step) => step("serverSent"), by: "rate", write: perSecond, paint: String },
  { title: "handshake", of: meanHandshake("client"), by: "mean", write: inMs, paint: String },
  { title: "with server", of: meanHandshake("server"), by: "mean", write: inMs, paint: String },
];

function meanHandshake(side: string): (step: Step) => number | undefined {
  return (step) => {
    const count = step(`${side}Handshakes`);
    return count > 0 ? step(`${side}HandshakeMs`) / count : undefined;
  };
}

const TITLE = 13;
const NUMBERS = 26;
const NARROWEST = 20;

function page({ since, until, step, series }: SeriesAnswer): string[] {
  const steps = Object.values(series)[0]?.length ?? 0;
  const room = Math.max(Math.min(terminalWidth(), 160) - TITLE - NUMBERS, NARROWEST);
  const each = Math.max(1, Math.ceil(steps / room));
  const title = `${shortTime(since)} to ${shortTime(until)}, a bar for each ${duration(step * each)}`;
  const place = Math.ceil(steps / each);
  const head = `${" ".repeat(TITLE + place)}${"most".padStart(NUMBERS / 2)}${"last".padStart(NUMBERS / 2)}`;
  return [
    title,
    color.dim(head),
    ...LINES.map((line) => {
      const bars = barsOf(line, { step, series }, steps, each);
      const known = bars.filter((bar) => bar !== undefined);
      const most = Math.max(0, ...known);
      const written = [most, known.at(-1) ?? 0].map((value) => line.write(value).padStart(NUMBERS / 2));
      return `${line.title.padEnd(TITLE)}${line.paint(bars.map((bar) => glyph(bar, most)).join(""))}${written.join("")}`;
    }),
  ];
}

function barsOf(
  { of, by }: Line,
  { step, series }: Pick<SeriesAnswer, "step" | "series">,
  steps: number,
  each: number,
): (number | undefined)[] {
  const bars: (number | undefined)[] = [];
  for (let at = 0; at < steps; at += each) {
    const values = Array.from({ length: Math.min(each, steps - at) }, (_, index) => at + index)
      .filter((place) => series["live"]?.[place] !== null)
      .map((place) => of((name) => series[name]?.[place] ?? 0))
      .filter((value) => value !== undefined);
    const sum = values.reduce((a, b) => a + b, 0);
    if (values.length === 0) bars.push(undefined);
    // A rate is one of the time that the node ran.
    else if (by === "rate") bars.push((sum * 1_000) / (values.length * step));
    else bars.push(by === "mean" ? sum / values.length : Math.max(...values));
  }
  return bars;
}

const GLYPHS = "▁▂▃▄▅▆▇█";

/** A dot: the node did not run, or nothing was measured. Nothing at all has the lowest bar. */
function glyph(value: number | undefined, most: number): string {
  if (value === undefined) return "·";
  if (most === 0) return GLYPHS[0]!;
  return GLYPHS[Math.min(Math.ceil((value / most) * (GLYPHS.length - 1)), GLYPHS.length - 1)]!;
}

function round(value: number): string {
  return value > 0 && value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en-US");
}
