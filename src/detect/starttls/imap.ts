import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 9051 (and RFC 3501), with STARTTLS of section 6.2.1, which only a client that is not logged in may use. */
export const IMAP: LineProtocol = {
  name: "IMAP",
  greeting: /^\* (?:OK|PREAUTH|BYE)\b/i,
  settled: /^\* (?:PREAUTH|BYE)\b/i,
  tagged: true,
  ask: /^STARTTLS\b/i,
  agreed: /^OK\b/i,
  complete: () => true,
  capabilities: /^CAPABILITY\b/i,
  offer: /^\* (?:CAPABILITY|OK \[CAPABILITY) .*\bSTARTTLS\b/i,
  harmless: /^(?:CAPABILITY|NOOP|ID|STARTTLS)\b/i,
  final: (answer, command) => /^OK\b/i.test(answer) && /^(?:LOGIN|AUTHENTICATE)\b/i.test(command),
  literal: /\{(\d{1,9})(\+)?\}$/,
};
