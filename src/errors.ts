import type { Side } from "./vocabulary.ts";

/**
 * Four kinds of errors, by who is at fault. Their messages say what was attempted and what stood in its way.
 * Errors are caught once: those of a session in `flow/flow.ts`, those of a command in `cli/start.ts`.
 */

/** A peer broke its protocol. Expected: it ends one session with an alert (RFC 8446, section 6). */
export class PeerError extends Error {
  override readonly name = "PeerError";
  /** Which peer. A pure reader does not know it, and leaves it to its caller. */
  readonly side: Side | undefined;
  /** The description of the alert to send: RFC 8446, section 6.2. */
  readonly alert: number;

  constructor(message: string, alert: number, options?: ErrorOptions & { side?: Side }) {
    super(message, options);
    this.alert = alert;
    this.side = options?.side;
  }
}

/** The network failed: refused, unreachable, timed out, reset. Expected: it ends one session. */
export class NetworkError extends Error {
  override readonly name = "NetworkError";
  /** The system's error code: ECONNREFUSED, ETIMEDOUT, ECONNRESET, ENOTFOUND… */
  readonly code: string;
  /** Whose connection failed; undefined: unknown, or the node's own. */
  readonly side: Side | undefined;

  constructor(message: string, code: string, options?: ErrorOptions & { side?: Side }) {
    super(message, options);
    this.code = code;
    this.side = options?.side;
  }
}

/** The user's configuration or input cannot be used. `path` names the key: "policy.rules[3].match.port". */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly path: string;
  /** Undefined when the error is not about one place in a file. */
  readonly place: ConfigPlace | undefined;

  constructor(path: string, message: string, options?: ErrorOptions & { place?: ConfigPlace }) {
    super(message, options);
    this.path = path;
    this.place = options?.place;
  }
}

/**
 * Codes of the system for what passes by itself, or when somebody sees to it: a full disk or one that has failed (the kernel makes it
 * read-only), too few files or too little memory, an address that another program has, or that the machine does not have yet.
 */
const PASSING: readonly string[] = [
  ...["ENOSPC", "EDQUOT", "EIO", "EROFS", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EAGAIN"],
  ...["EADDRINUSE", "EADDRNOTAVAIL"],
];

/** Whether the error, or what caused it, is a state of the machine that may pass, and not surely a mistake of the user's: a later attempt may succeed. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  return (code !== undefined && PASSING.includes(code)) || isPassing(error.cause);
}

/** A place in the configuration file. Line and column count from 1. */
export interface ConfigPlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Two lines for a terminal: the file's line, and a caret under the column. */
  readonly excerpt: string;
}

/** An assumption of this code was false: always a bug in it. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}
