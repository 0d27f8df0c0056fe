/** A line of the log on its way to the targets. */
export interface Line {
  /** JSON, without its line end. */
  readonly json: string;
  readonly level: Level;
}

/** pino's levels, with the severities of syslog and of the journal: RFC 5424, section 6.2.1; sd-daemon(3). */
export const SEVERITIES = { trace: 7, debug: 7, info: 6, warn: 4, error: 3, fatal: 2 } as const;
export type Level = keyof typeof SEVERITIES;

/** Undefined: not a line of the log, but what a worker or a library wrote to standard error. */
export function readLine(text: string): Line | undefined {
  const level = /^\{"level":"(\w+)",/.exec(text)?.[1];
  if (level === undefined || !Object.hasOwn(SEVERITIES, level) || !text.endsWith("}")) return undefined;
  return { json: text, level: level as Level };
}

/** Where lines go. No method waits, and none throws. */
export interface Target {
  readonly name: string;
  /** Lines that were left out since the start. */
  readonly dropped: number;
  /** Why it takes no lines, or nothing arrives of them. Undefined: it does as it should, or nobody can know. */
  readonly stopped?: string | undefined;
  take(line: Line): void;
  /** Resolves when what was taken is written, or cannot be in time. */
  close(): Promise<void>;
}
