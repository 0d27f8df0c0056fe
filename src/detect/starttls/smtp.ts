import type { LineProtocol } from "./line-dialogue.ts";

/** RFC 5321, with STARTTLS of RFC 3207 and BDAT of RFC 3030; LMTP (RFC 2033) upgrades in the same way. */
export const SMTP: LineProtocol = {
  name: "SMTP",
  greeting: /^220(?:[ -]|$)/,
  ask: /^\s*STARTTLS\b/i,
  agreed: /^220/,
  answeredAlike: /^\s*XCLIENT\b/i,
  complete: (line) => line[3] !== "-",
  capabilities: /^\s*(?:EHLO|LHLO)\b/i,
  offer: /^250[ -]STARTTLS\b/i,
  foreign: /^\s*(?:USER|PASS|ACCT|FEAT|SYST|PWD|CWD|TYPE|PASV|EPSV|PORT|EPRT|LIST|NLST|MLSD|RETR|STOR)\b/i,
  harmless: /^\s*(?:EHLO|LHLO|HELO|NOOP|RSET|HELP|STARTTLS)\b/i,
  content: /^354/,
  chunk: /^\s*BDAT +(\d{1,12})/i,
};
