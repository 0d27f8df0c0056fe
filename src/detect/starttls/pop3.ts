import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 1939, with CAPA of RFC 2449 and STLS of RFC 2595, which is there for clients that are not logged in. */
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

/** Commands answered with several lines. */
const LISTS = /^(?:CAPA\b|(?:AUTH|LANG)\s*$)/i;
/** Commands that leave the client where it was. */
const OPENING = /^(?:(?:CAPA|USER|NOOP|UTF8|LANG|STLS)\b|AUTH\s*$)/i;
