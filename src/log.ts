import pino from "pino";

/**
 * The node's own log, JSON lines on standard error, at the level that `clearline run` set. What a session carries and every
 * key stay out of it.
 */
export const log = pino(
  { name: "clearline", level: process.env["CLEARLINE_LOG_LEVEL"] ?? "info" },
  pino.destination(2),
);
