import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 959, with AUTH TLS of RFC 4217. The protected data connections are TLS from their first byte, and sessions of their own. */
export const FTP: LineProtocol = {
  name: "FTP",
  greeting: /^220(?:[ -]|$)/,
  ask: /^\s*AUTH\s+(?:TLS|SSL|TLS-C|TLS-P)\b/i,
  agreed: /^234/,
  answeredAlike: /^\s*AUTH\b/i,
  // Section 4.2: the last line of an answer begins with the code of its first line; lines between may have any form. Another
  // answer to the same command follows one that begins with 1.
  complete: (line, first) =>
    /^[2-6]\d\d(?: |$)/.test(line) && (first[3] !== "-" || first.startsWith("1") || line.startsWith(first.slice(0, 3))),
  capabilities: /^\s*FEAT\b/i,
  offer: /^\s+AUTH\b.*\bTLS\b/i,
  foreign: /^\s*(?:EHLO|HELO|LHLO|MAIL|RCPT|DATA|BDAT)\b/i,
  harmless: /^\s*(?:FEAT|NOOP|SYST|OPTS|HELP|HOST|CLNT|AUTH)\b/i,
};
