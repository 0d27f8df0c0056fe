import {
  broken,
  type Dialogue,
  DialogueReader,
  MORE,
  NO,
  type Progress,
  Script,
  sentAfterAgreement,
  sentAfterRequest,
} from "./dialogue.ts";
import { type Tag, TagReader } from "./tags.ts";

/** The longest incomplete answer, in bytes. */
const MAX_ANSWER = 65_536;

/** XMPP (RFC 6120, section 5.4): in a stream of XML the client asks with <starttls/>, and the server agrees with <proceed/>. */
export function openXmpp(): Dialogue {
  return new XmppDialogue();
}

class XmppDialogue extends DialogueReader {
  readonly protocol = "XMPP";
  readonly #script = new Script();
  readonly #client = new TagReader();
  readonly #server = new TagReader();
  /** The client has asked for TLS and has no answer yet. */
  #asked = false;
  /** The features that are being sent offer TLS. */
  #offering = false;
  /** Bytes of the server since its last complete answer. */
  #unanswered = 0;

  override get awaiting(): boolean {
    return this.#asked;
  }

  override get beyond(): boolean {
    return this.#script.isGivenUp;
  }

  protected override onClient(bytes: Buffer): Progress {
    this.#script.add(this.answers, bytes);
    for (let at = 0; at < bytes.length; ) {
      if (this.#asked) throw sentAfterRequest();
      const { end, tag } = this.#client.read(bytes, at);
      at = end;
      if (!tag) continue;
      if (!this.certain && (tag.name !== "stream" || tag.kind !== "begin")) return NO;
      this.certain = true;
      this.#asked = completesElement(tag) && tag.name === "starttls";
      if (tag.depth === 1 && tag.name !== "starttls") this.#script.giveUp();
    }
    return MORE;
  }

  protected override onServer(bytes: Buffer): Progress {
    // The client speaks first.
    if (!this.certain) return NO;
    for (let at = 0; at < bytes.length; ) {
      const { end, tag } = this.#server.read(bytes, at);
      this.#unanswered += end - at;
      at = end;
      if (this.#unanswered > MAX_ANSWER) {
        throw broken("server", `The server's answer is longer than ${MAX_ANSWER} bytes`);
      }
      if (!tag) continue;
      if (tag.name === "starttls" && tag.depth === 2) this.#offering = true;
      // The opening tag of the stream is the server's first answer.
      const progress = completesElement(tag) || tag.depth === 0 ? this.#answer(tag, at) : MORE;
      if (progress.kind === "upgrade" && at < bytes.length) throw sentAfterAgreement();
      if (progress.kind !== "more") return progress;
    }
    return MORE;
  }

  #answer({ name, depth }: Tag, at: number): Progress {
    this.answers += 1;
    this.#unanswered = 0;
    if (depth === 0) return MORE;
    if (name === "features") {
      this.offered = this.#offering;
      this.#offering = false;
    }
    if (name === "proceed") {
      // The server wants TLS without being asked: the client's hello will tell.
      if (!this.#asked) return NO;
      return this.upgrade(at, this.#script);
    }
    if (this.#asked) {
      this.refused = true;
      this.#asked = false;
    }
    // Section 6.3.3: after its login a client cannot ask for TLS any more.
    return name === "success" ? NO : MORE;
  }
}

/** Whether this tag ends an element right below the stream. */
function completesElement({ kind, depth }: Tag): boolean {
  return depth === 1 && kind !== "begin";
}
