import pino from "pino";

/**
 * The node's log: JSON lines on standard error. The supervisor sets the level, and hands it to the workers in the environment. Never
 * log a key, or what a session carries.
 */
export const log = pino(
  { name: "clearline", level: process.env["CLEARLINE_LOG_LEVEL"] ?? "info" },
  pino.destination(2),
);
