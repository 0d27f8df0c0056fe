import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 1939, with CAPA of RFC 2449 and STLS of RFC 2595, which only a client that is not logged in may use. */
export const POP3: LineProtocol = {
  name: "POP3",
  greeting: /^\+OK\b/,
  ask: /^STLS\b/i,
  agreed: /^\+OK\b/,
  complete: (line, first, command) => !first.startsWith("+OK") || !LISTS.test(command) || line === ".",
  capabilities: /^CAPA\b/i,
  offer: /^STLS\b/i,
  harmless: /^(?:CAPA|NOOP|UTF8|LANG|STLS)\b/i,
  final: (answer, command) => answer.startsWith("+OK") && !OPENING.test(command),
};

/** Commands with an answer of several lines. */
const LISTS = /^(?:CAPA\b|(?:AUTH|LANG)\s*$)/i;
/** Commands that do not log the client in. */
const OPENING = /^(?:(?:CAPA|USER|NOOP|UTF8|LANG|STLS)\b|AUTH\s*$)/i;
