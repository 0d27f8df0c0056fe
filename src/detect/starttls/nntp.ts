import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 3977, with STARTTLS of RFC 4642 and the streaming of RFC 4644. */
export const NNTP: LineProtocol = {
  name: "NNTP",
  greeting: /^20[01](?: |$)/,
  ask: /^\s*STARTTLS\b/i,
  agreed: /^382/,
  answeredAlike: /^\s*STARTTLS\b/i,
  complete: (line, first, command) => !hasLines(first, command) || line === ".",
  bulk: (first, command) => hasLines(first, command) && !first.startsWith("10"),
  capabilities: /^\s*CAPABILITIES\b/i,
  offer: /^STARTTLS\b/i,
  harmless: /^\s*(?:CAPABILITIES|MODE|DATE|HELP|STARTTLS)\b/i,
  final: (answer, command) => answer.startsWith("281") && /^\s*AUTHINFO\b/i.test(command),
  content: /^3(?:35|40)/,
  contentAtOnce: /^\s*TAKETHIS\b/i,
};

/** Section 3.4.1 and appendix C: the codes of answers with several lines; 211 has them after LISTGROUP only. */
function hasLines(first: string, command: string): boolean {
  const code = first.slice(0, 3);
  if (code === "211") return /^\s*LISTGROUP\b/i.test(command);
  return ["100", "101", "215", "220", "221", "222", "224", "225", "230", "231"].includes(code);
}
