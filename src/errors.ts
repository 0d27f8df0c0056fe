/**
 * Four kinds of trouble, each naming who is at fault. Messages say the action and the state.
 * They are caught once: a session's in `flow.ts`, a command's in `cli/main.ts`.
 */

/** The peer on one side broke its protocol. Expected; ends one session with the alert (RFC 8446, section 6). */
export class PeerError extends Error {
  override readonly name = "PeerError";
  /** Who broke it. Pure readers do not know their side; the caller that does adds it. */
  readonly side: "client" | "server" | undefined;
  /** The TLS alert description that tells the peer why: RFC 8446, section 6.2. */
  readonly alert: number;

  constructor(message: string, alert: number, options?: ErrorOptions & { side?: "client" | "server" }) {
    super(message, options);
    this.alert = alert;
    this.side = options?.side;
  }
}

/** The network failed: refused, unreachable, timed out, reset. Expected; ends one session. */
export class NetworkError extends Error {
  override readonly name = "NetworkError";
  /** The system's name of it: ECONNREFUSED, ETIMEDOUT, ECONNRESET, ENOTFOUND… */
  readonly code: string;

  constructor(message: string, code: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What the user wrote cannot be used. `path` is the key in the file: "policy.rules[3].match.port". */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly path: string;
  /** Undefined: the error is not about one place of a file. */
  readonly place: ConfigPlace | undefined;

  constructor(path: string, message: string, options?: ErrorOptions & { place?: ConfigPlace }) {
    super(message, options);
    this.path = path;
    this.place = options?.place;
  }
}

/** A place in the configuration file. Line and column count from 1. */
export interface ConfigPlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Two lines for a terminal: the file's line, and a caret under the column. */
  readonly excerpt: string;
}

/** Our own assumption was false. Always a bug of ours. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
}
