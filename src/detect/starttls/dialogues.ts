import type { Side } from "../../vocabulary.ts";
import { openConnect } from "./connect.ts";
import { type Dialogue, MORE, NO, type Progress } from "./dialogue.ts";
import { FTP } from "./ftp.ts";
import { IMAP } from "./imap.ts";
import { openLdap } from "./ldap.ts";
import { openLineDialogue } from "./line-dialogue.ts";
import { MANAGESIEVE } from "./managesieve.ts";
import { openMysql } from "./mysql.ts";
import { NNTP } from "./nntp.ts";
import { POP3 } from "./pop3.ts";
import { openPostgresql } from "./postgresql.ts";
import { SMTP } from "./smtp.ts";
import { openXmpp } from "./xmpp.ts";

/** Every dialogue that is watched on the ports for STARTTLS. A new one is one file and one row. */
const DIALOGUES: readonly (() => Dialogue)[] = [
  ...[SMTP, IMAP, POP3, FTP, NNTP, MANAGESIEVE].map((protocol) => () => openLineDialogue(protocol)),
  openXmpp,
  openLdap,
  openPostgresql,
  openMysql,
];

/** Several dialogues at once, for as long as more than one may be what is spoken. */
export interface Watch {
  feed(side: Side, bytes: Buffer): Progress;
  /** What is known for certain to be spoken, or was when it ended; undefined: nothing is. */
  readonly spoken: Dialogue | undefined;
  /** An upgrade is what usually follows. */
  readonly likely: boolean;
}

/**
 * CONNECT, and with `startTls` every dialogue. The first upgrade is the answer; "no" once all have said no. `begun` is
 * what the client said already, which is fed like all else.
 */
export function openWatch({ startTls, begun }: { readonly startTls: boolean; readonly begun?: Buffer }): Watch {
  let watching = (startTls ? [...DIALOGUES, openConnect] : [openConnect]).map((open) => open());
  let spoken: Dialogue | undefined;
  return {
    feed(side, bytes) {
      const still: Dialogue[] = [];
      for (const dialogue of watching) {
        const progress = dialogue.feed(side, bytes);
        if (dialogue.certain && (spoken === undefined || progress.kind === "upgrade")) spoken = dialogue;
        if (progress.kind === "upgrade") return progress;
        if (progress.kind === "more") still.push(dialogue);
      }
      watching = still;
      return still.length > 0 ? MORE : NO;
    },
    get spoken() {
      return spoken;
    },
    likely: startTls || begun?.toString("latin1", 0, 8) === "CONNECT ",
  };
}

/** The dialogue of this protocol, to say it again to another connection. Undefined: there is none. */
export function openDialogue(protocol: string): Dialogue | undefined {
  return [...DIALOGUES, openConnect].map((open) => open()).find((dialogue) => dialogue.protocol === protocol);
}

/** Whether a client's first bytes ask a proxy for something; "more": they may be about to. */
export function asksProxy(bytes: Buffer): boolean | "more" {
  const text = bytes.toString("latin1", 0, 40);
  if (/^(?:CONNECT |[A-Z]{1,16} http:\/\/)/.test(text)) return true;
  return /^[A-Z]{1,16}(?: (?:h(?:t(?:t(?:p(?::\/?)?)?)?)?)?)?$/.test(text) ? "more" : false;
}
