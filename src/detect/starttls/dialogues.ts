import type { Side } from "../../vocabulary.ts";
import { openConnect } from "./connect.ts";
import { beginsConnect } from "./connect-head.ts";
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

/** The protocols that are watched on the STARTTLS ports. A new one is one file and one row. */
const DIALOGUES: readonly (() => Dialogue)[] = [
  ...[SMTP, IMAP, POP3, FTP, NNTP, MANAGESIEVE].map((protocol) => () => openLineDialogue(protocol)),
  openXmpp,
  openLdap,
  openPostgresql,
  openMysql,
];

/** Follows several dialogues at once, until it is known which protocol is spoken. */
export interface Watch {
  feed(side: Side, bytes: Buffer): Progress;
  /** The dialogue of the protocol that is certain, also after it has ended; undefined: none is. */
  readonly spoken: Dialogue | undefined;
  /** Whether an upgrade is likely. */
  readonly likely: boolean;
  /** Of the dialogue that is certain and goes on: whether the client must say nothing, or is in the middle of data. */
  readonly awaiting: boolean;
  readonly inBody: boolean;
  /** Whether the client has said something in it that is not on the way to TLS. */
  readonly beyond: boolean;
}

export interface WatchOptions {
  readonly startTls: boolean;
  readonly received?: Buffer;
  readonly connect?: boolean;
}

/**
 * Watches for CONNECT unless `connect` is false, and with `startTls` for every dialogue. The first upgrade is the answer; "no" once every dialogue
 * has said no. `received` are the client's bytes so far; they must still be fed.
 */
export function openWatch({ startTls, received, connect = true }: WatchOptions): Watch {
  let watching = [...(startTls ? DIALOGUES : []), ...(connect ? [openConnect] : [])].map((open) => open());
  let spoken: Dialogue | undefined;
  const certain = () => watching.filter((dialogue) => dialogue.certain);
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
    get awaiting() {
      return certain().some((dialogue) => dialogue.awaiting);
    },
    get inBody() {
      return certain().some((dialogue) => dialogue.inBody);
    },
    get beyond() {
      const spoken = certain();
      return spoken.length > 0 && spoken.every((dialogue) => dialogue.beyond);
    },
    likely: startTls || (received !== undefined && beginsConnect(received) === true),
  };
}

/** The dialogue of this protocol, to repeat it on another connection. Undefined: there is no such protocol. */
export function openDialogue(protocol: string): Dialogue | undefined {
  return [...DIALOGUES, openConnect].map((open) => open()).find((dialogue) => dialogue.protocol === protocol);
}

/** Whether a client's first bytes are a request to a proxy; "more": they may be the beginning of one. */
export function asksProxy(bytes: Buffer): boolean | "more" {
  const connect = beginsConnect(bytes);
  if (connect === true) return true;
  const text = bytes.toString("latin1", 0, 40);
  if (/^[A-Z]{1,16} http:\/\//.test(text)) return true;
  if (connect === "more" && bytes.length > 0) return "more";
  return /^[A-Z]{1,16}(?: (?:h(?:t(?:t(?:p(?::\/?)?)?)?)?)?)?$/.test(text) ? "more" : false;
}
