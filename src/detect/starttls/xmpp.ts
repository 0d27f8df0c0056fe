import { PeerError } from "../../errors.ts";
import { blankDialogue, broken, type Dialogue, MORE, NO, type Progress, Script } from "./dialogue.ts";
import { type Tag, TagReader } from "./tags.ts";

/** Of one answer that is not complete, in bytes. */
const MAX_ANSWER = 65_536;

/** XMPP (RFC 6120): in a stream of XML the client asks with <starttls/>, the server agrees with <proceed/>. Section 5.4. */
export function openXmpp(): Dialogue {
  const script = new Script();
  const client = new TagReader();
  const server = new TagReader();
  let asked = false;
  let offering = false;
  let unanswered = 0;
  const dialogue = blankDialogue("XMPP", feed);
  return dialogue;

  function feed(side: "client" | "server", bytes: Buffer): Progress {
    try {
      return side === "client" ? listen(bytes) : hear(bytes);
    } catch (error) {
      if (dialogue.certain || !(error instanceof PeerError)) throw error;
      return NO;
    }
  }

  function listen(bytes: Buffer): Progress {
    if (bytes.length > 0) script.add(dialogue.answers, bytes);
    for (let at = 0; at < bytes.length; ) {
      if (asked) throw broken("client", "The client sent more behind its request for TLS");
      const { end, tag } = client.read(bytes, at);
      at = end;
      if (!tag) continue;
      if (!dialogue.certain && (tag.name !== "stream" || tag.kind !== "begin")) return NO;
      dialogue.certain = true;
      asked = completes(tag) && tag.name === "starttls";
      if (tag.depth === 1 && !asked && tag.name !== "starttls") script.lose();
    }
    return MORE;
  }

  function hear(bytes: Buffer): Progress {
    if (!dialogue.certain && bytes.length > 0) return NO;
    for (let at = 0; at < bytes.length; ) {
      const { end, tag } = server.read(bytes, at);
      unanswered += end - at;
      at = end;
      if (unanswered > MAX_ANSWER) throw broken("server", `An answer is longer than ${MAX_ANSWER} bytes`);
      if (!tag) continue;
      if (tag.name === "starttls" && tag.depth === 2) offering = true;
      // The stream's own beginning is the server's first answer.
      const progress = completes(tag) || tag.depth === 0 ? answer(tag, at) : MORE;
      if (progress.kind === "upgrade" && at < bytes.length) {
        throw broken("server", "The server sent more behind its agreement to TLS");
      }
      if (progress.kind !== "more") return progress;
    }
    return MORE;
  }

  function answer({ name, depth }: Tag, at: number): Progress {
    dialogue.answers += 1;
    unanswered = 0;
    if (depth === 0) return MORE;
    if (name === "features") {
      dialogue.offered = offering;
      offering = false;
    }
    if (name === "proceed") {
      if (!asked) throw broken("server", "The server agrees to what it was not asked");
      return { kind: "upgrade", at, agreement: { protocol: dialogue.protocol, next: "tls", script: script.steps } };
    }
    if (asked) {
      dialogue.refused = true;
      asked = false;
    }
    // Section 6.3.3: who is logged in is beyond TLS.
    return name === "success" ? NO : MORE;
  }
}

/** An element right below the stream's own is over. */
function completes({ kind, depth }: Tag): boolean {
  return depth === 1 && kind !== "begin";
}
