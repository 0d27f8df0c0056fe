import { PeerError } from "../../errors.ts";
import type { Side } from "../../vocabulary.ts";
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
import { LineReader } from "./lines.ts";

/** A protocol of lines, in which the client asks with a command for TLS on the same connection: one row of the table. */
export interface LineProtocol {
  /** The protocol's usual name: "SMTP". */
  readonly name: string;
  /** The server's first line. */
  readonly greeting: RegExp;
  /** A greeting after which no upgrade is possible: the client is logged in already. */
  readonly settled?: RegExp;
  /** The command that asks for TLS, without its tag. */
  readonly ask: RegExp;
  /** The beginning of the answer, without its tag, when the server agrees. */
  readonly agreed: RegExp;
  /** The only commands that may be answered like that; undefined: any may be. */
  readonly answeredAlike?: RegExp;
  /** Whether each command begins with a tag, which the last line of its answer repeats. */
  readonly tagged?: true;
  /** Whether a line is the last of an answer that began with `first`. Not used for tagged protocols. */
  complete(line: string, first: string, command: string): boolean;
  /** Whether an answer that begins like this is a text of any size, which ends with a line of one dot. */
  readonly bulk?: (first: string, command: string) => boolean;
  /** The command whose answer lists the server's capabilities; "" for the greeting. */
  readonly capabilities: RegExp;
  /** The line of that answer that offers TLS. */
  readonly offer: RegExp;
  /** Commands of another protocol with the same greeting. A server that carries one out speaks that protocol. */
  readonly foreign?: RegExp;
  /** Commands that may be sent again on another connection. */
  readonly harmless: RegExp;
  /** Whether no upgrade is possible after this answer: the client is logged in. */
  readonly final?: (answer: string, command: string) => boolean;
  /** The answer after which the client sends a text that ends with a line of one dot. */
  readonly content?: RegExp;
  /** The command after which the client sends such a text without waiting for an answer. */
  readonly contentAtOnce?: RegExp;
  /** The command that this many bytes follow: its first group. */
  readonly chunk?: RegExp;
  /** A line that goes on after this many bytes: its first group. The second group is there when they follow without a request. */
  readonly literal?: RegExp;
}

/** The longest answer, in bytes. */
const MAX_ANSWER = 65_536;
/** The most commands without an answer. */
const MAX_PENDING = 10_000;

interface Command {
  readonly text: string;
  readonly tag: string | undefined;
  readonly asks: boolean;
}

export function openLineDialogue(protocol: LineProtocol): Dialogue {
  return new LineDialogue(protocol);
}

class LineDialogue extends DialogueReader {
  readonly protocol: string;
  readonly #is: LineProtocol;
  readonly #client = new LineReader();
  readonly #server = new LineReader();
  readonly #script = new Script();
  readonly #pending: Command[] = [];
  /** The first line of the incomplete answer. */
  #first: string | undefined;
  /** Bytes of the incomplete answer. */
  #answered = 0;
  /** The incomplete answer offers TLS. */
  #offering = false;
  /** The client has asked for TLS and has no answer yet. */
  #asked = false;
  /** The length of a literal that the client sends only when the server asks for it. */
  #literal = 0;
  /** The client's next line goes on with the last command. */
  #continues = false;
  /** The client sends a text without waiting for an answer. */
  #textAtOnce = false;
  /** The client's error before the server's greeting. It counts once the protocol is certain. */
  #early: PeerError | undefined;

  constructor(protocol: LineProtocol) {
    super();
    this.#is = protocol;
    this.protocol = protocol.name;
  }

  override feed(side: Side, bytes: Buffer): Progress {
    if (bytes.length === 0 || (side === "client" && this.#early)) return MORE;
    try {
      return side === "client" ? this.onClient(bytes) : this.onServer(bytes);
    } catch (error) {
      if (this.certain || !(error instanceof PeerError)) throw error;
      if (side === "server") return NO;
      this.#early = error;
      return MORE;
    }
  }

  override get awaiting(): boolean {
    return this.#asked;
  }

  override get inBody(): boolean {
    return this.#client.inBody;
  }

  override get beyond(): boolean {
    return this.#script.isGivenUp;
  }

  protected override onClient(bytes: Buffer): Progress {
    this.#script.add(this.answers, bytes);
    for (let at = 0; at < bytes.length; ) {
      if (this.#asked) throw sentAfterRequest();
      const { end, line } = this.#client.read(bytes, at);
      at = end;
      if (line !== undefined) this.#onCommand(line);
    }
    return MORE;
  }

  #onCommand(line: string): void {
    const { tagged, ask, harmless } = this.#is;
    if (this.#isContinuation(line)) return;
    const [, tag, text = line] = tagged ? (/^([^ ]+) +(.*)$/.exec(line) ?? []) : [];
    this.#asked = ask.test(text);
    if (!harmless.test(text)) this.#script.giveUp();
    this.#pending.push({ text: text.slice(0, 64), tag, asks: this.#asked });
    if (this.#pending.length > MAX_PENDING)
      throw broken("client", `The client sent more than ${MAX_PENDING} commands without waiting for answers`);
  }

  /** Whether the line belongs to the command before it. Skips the literal, chunk or text that follows the line. */
  #isContinuation(line: string): boolean {
    const { literal, chunk, contentAtOnce } = this.#is;
    const part = this.#continues || (this.#textAtOnce && line === ".");
    const [, length, atOnce] = literal?.exec(line) ?? [];
    this.#continues = length !== undefined;
    this.#literal = atOnce === undefined ? Number(length ?? 0) : 0;
    if (atOnce !== undefined) this.#client.skip(Number(length));
    this.#client.skip(Number(chunk?.exec(line)?.[1] ?? 0));
    this.#textAtOnce = contentAtOnce?.test(line) ?? false;
    if (this.#textAtOnce) this.#client.inText = true;
    return part;
  }

  protected override onServer(bytes: Buffer): Progress {
    for (let at = 0; at < bytes.length; ) {
      const { end, line } = this.#server.read(bytes, at);
      this.#answered += this.#server.inText ? 0 : end - at;
      at = end;
      if (this.#answered > MAX_ANSWER) throw broken("server", `The server's answer is longer than ${MAX_ANSWER} bytes`);
      if (line === undefined) continue;
      const progress = this.#onAnswerLine(line, at);
      if (progress.kind === "upgrade" && at < bytes.length) throw sentAfterAgreement();
      if (progress.kind !== "more") return progress;
    }
    return MORE;
  }

  #onAnswerLine(line: string, at: number): Progress {
    const { greeting, settled, offer, tagged, bulk, complete, capabilities } = this.#is;
    if (!this.certain) {
      if (!greeting.test(line) || settled?.test(line)) return NO;
      this.certain = true;
      if (this.#early) throw this.#early;
    }
    if (offer.test(line)) this.#offering = true;
    const greeted = this.answers > 0;
    if (tagged && greeted) return this.#onTaggedLine(line, at);
    const command = greeted ? this.#pending[0] : undefined;
    const isFirst = this.#first === undefined;
    this.#first ??= line;
    if (isFirst && bulk?.(line, command?.text ?? "")) {
      this.#server.inText = true;
      return MORE;
    }
    if (!complete(line, this.#first, command?.text ?? "")) return this.#readOn(line);
    if (greeted) {
      this.#pending.shift();
      return this.#onAnswer(command, this.#first, at);
    }
    if (this.#offering || capabilities.test("")) this.offered = this.#offering;
    return this.#done(line);
  }

  /** RFC 9051, section 7: "*" begins a line that answers no command by itself, "+" asks for the rest of a command. */
  #onTaggedLine(line: string, at: number): Progress {
    if (line.startsWith("*")) return this.#readOn(line);
    if (line.startsWith("+")) {
      this.#client.skip(this.#literal);
      this.#literal = 0;
      return this.#done(line);
    }
    const [, tag, answer = ""] = /^([^ ]+) ?(.*)$/.exec(line) ?? [];
    const index = this.#pending.findIndex((command) => command.tag === tag);
    if (index < 0) throw broken("server", "The server sent an answer with a tag that no command has");
    this.#literal = 0;
    this.#continues = false;
    return this.#onAnswer(this.#pending.splice(index, 1)[0], answer, at);
  }

  /** The answer goes on after this line; a literal may follow the line. */
  #readOn(line: string): Progress {
    const [, length] = this.#is.literal?.exec(line) ?? [];
    if (length !== undefined) this.#server.skip(Number(length));
    return MORE;
  }

  #onAnswer(command: Command | undefined, answer: string, at: number): Progress {
    const { agreed, answeredAlike, foreign, capabilities, final } = this.#is;
    if (command && foreign?.test(command.text) && /^[123]/.test(answer)) return NO;
    const agrees = agreed.test(answer);
    if (command?.asks) {
      this.#asked = false;
      if (agrees) return this.upgrade(at, this.#script);
      this.refused = true;
    } else if (agrees && (!command || answeredAlike?.test(command.text) === false)) {
      // The server wants TLS without being asked, or read a request that the node did not see: the client's hello will tell.
      return NO;
    }
    if (command && capabilities.test(command.text)) this.offered = this.#offering;
    return command && final?.(answer, command.text) ? NO : this.#done(answer);
  }

  #done(answer: string): Progress {
    this.answers += 1;
    this.#answered = 0;
    this.#first = undefined;
    this.#offering = false;
    // An answer within a text means that the text has ended for the server.
    if (!this.#textAtOnce) this.#client.inText = this.#is.content?.test(answer) ?? false;
    return MORE;
  }
}
