import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 5804, with STARTTLS of section 2.2. The server greets with its capabilities. */
export const MANAGESIEVE: LineProtocol = {
  name: "ManageSieve",
  greeting: /^"[A-Z][A-Z0-9-]*"/i,
  ask: /^STARTTLS\b/i,
  agreed: /^OK\b/i,
  complete: (line) => /^(?:OK|NO|BYE)\b/i.test(line),
  capabilities: /^(?:CAPABILITY\b|$)/i,
  offer: /^"STARTTLS"/i,
  harmless: /^(?:CAPABILITY|NOOP|STARTTLS)\b/i,
  final: (answer, command) => /^OK\b/i.test(answer) && /^AUTHENTICATE\b/i.test(command),
  literal: /\{(\d{1,9})\+?\}()$/,
};
