import { PeerError } from "../../errors.ts";
import type { Side } from "../../vocabulary.ts";
import { broken, type Dialogue, MORE, NO, type Progress, Script } from "./dialogue.ts";
import { LineReader } from "./lines.ts";

/** A protocol of lines in which the client asks, with one of them, for TLS on the same connection: a row of the table. */
export interface LineProtocol {
  /** As people call it: "SMTP". */
  readonly name: string;
  /** The first line that the server says. */
  readonly greeting: RegExp;
  /** A server that greets so lets nobody upgrade: the client is logged in already. */
  readonly settled?: RegExp;
  /** The command that asks. Commands are seen without their tag. */
  readonly ask: RegExp;
  /** How an answer begins, without its tag, when the server agrees. */
  readonly agreed: RegExp;
  /** The only other commands that are answered like that; undefined: any may be. */
  readonly answeredAlike?: RegExp;
  /** Each command begins with a tag, which the last line of its answer repeats. */
  readonly tagged?: true;
  /** Whether a line is the last of an answer that began with `first`. Not asked of tagged ones. */
  complete(line: string, first: string, command: string): boolean;
  /** Whether an answer that begins so is of any size, and ends with a line of one dot. */
  readonly bulk?: (first: string, command: string) => boolean;
  /** The command whose answer says what the server can do ("": its greeting does), and how it says that it can do TLS. */
  readonly capabilities: RegExp;
  readonly offer: RegExp;
  /** Commands that only the server of another protocol, which greets alike, carries out. */
  readonly foreign?: RegExp;
  /** Commands that may be said to another connection again. */
  readonly harmless: RegExp;
  /** Whether there is no upgrade after this answer any more: the client is logged in. */
  readonly final?: (answer: string, command: string) => boolean;
  /** The answer after which the client sends a text, up to a line of one dot. */
  readonly content?: RegExp;
  /** The command that a text follows without an answer. */
  readonly contentAtOnce?: RegExp;
  /** The command that so many bytes follow. */
  readonly chunk?: RegExp;
  /** How a line says that it goes on after so many bytes; a second group is there when nobody has to ask for them. */
  readonly literal?: RegExp;
}

/** Of one answer, in bytes. */
const MAX_ANSWER = 65_536;
/** Commands that the server has not answered. */
const MAX_PENDING = 10_000;

interface Command {
  readonly text: string;
  readonly tag: string | undefined;
  readonly asks: boolean;
}

/** Watches one conversation in a protocol of lines. */
export function openLineDialogue(protocol: LineProtocol): Dialogue {
  return new LineDialogue(protocol);
}

class LineDialogue implements Dialogue {
  readonly #is: LineProtocol;
  readonly #client = new LineReader();
  readonly #server = new LineReader();
  readonly #script = new Script();
  readonly #pending: Command[] = [];
  /** The first line of the answer that is being given, and how much of it there was. */
  #first: string | undefined;
  #answered = 0;
  #offering = false;
  /** The client has asked for TLS and has no answer yet. */
  #asked = false;
  /** Bytes of the command that the client was not asked for yet; and whether its next line goes on with it. */
  #literal = 0;
  #continues = false;
  #textAtOnce = false;
  /** What the client did wrong before the server greeted: it counts once the protocol is certain. */
  #spoilt: PeerError | undefined;
  answers = 0;
  certain = false;
  offered: boolean | undefined;
  refused = false;

  constructor(protocol: LineProtocol) {
    this.#is = protocol;
  }

  get protocol(): string {
    return this.#is.name;
  }

  feed(side: Side, bytes: Buffer): Progress {
    if (bytes.length === 0 || (side === "client" && this.#spoilt)) return MORE;
    try {
      return side === "client" ? this.#listen(bytes) : this.#hear(bytes);
    } catch (error) {
      if (this.certain || !(error instanceof PeerError)) throw error;
      if (side === "server") return NO;
      this.#spoilt = error;
      return MORE;
    }
  }

  #listen(bytes: Buffer): Progress {
    this.#script.add(this.answers, bytes);
    for (let at = 0; at < bytes.length; ) {
      // CVE-2011-0411: what stands behind the request would be taken for a part of what comes encrypted.
      if (this.#asked) throw broken("client", "The client sent more behind its request for TLS");
      const { end, line } = this.#client.read(bytes, at);
      at = end;
      if (line !== undefined) this.#command(line);
    }
    return MORE;
  }

  #command(line: string): void {
    const { tagged, ask, harmless } = this.#is;
    if (this.#goesOn(line)) return;
    const [, tag, text = line] = tagged ? (/^([^ ]+) +(.*)$/.exec(line) ?? []) : [];
    this.#asked = ask.test(text);
    if (!harmless.test(text)) this.#script.lose();
    this.#pending.push({ text: text.slice(0, 64), tag, asks: this.#asked });
    if (this.#pending.length > MAX_PENDING) throw broken("client", "The client waits for no answers");
  }

  /** Steps over what follows this line and is no line. Answers whether the line itself is a part of the command before it. */
  #goesOn(line: string): boolean {
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

  #hear(bytes: Buffer): Progress {
    for (let at = 0; at < bytes.length; ) {
      const { end, line } = this.#server.read(bytes, at);
      this.#answered += this.#server.inText ? 0 : end - at;
      at = end;
      if (this.#answered > MAX_ANSWER) throw broken("server", `An answer is longer than ${MAX_ANSWER} bytes`);
      if (line === undefined) continue;
      const progress = this.#line(line, at);
      if (progress.kind === "upgrade" && at < bytes.length) {
        throw broken("server", "The server sent more behind its agreement to TLS");
      }
      if (progress.kind !== "more") return progress;
    }
    return MORE;
  }

  #line(line: string, at: number): Progress {
    const { greeting, settled, offer, tagged, bulk, complete, capabilities } = this.#is;
    if (!this.certain) {
      if (!greeting.test(line) || settled?.test(line)) return NO;
      this.certain = true;
      if (this.#spoilt) throw this.#spoilt;
    }
    if (offer.test(line)) this.#offering = true;
    const greeted = this.answers > 0;
    if (tagged && greeted) return this.#taggedLine(line, at);
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
      return this.#answer(command, this.#first, at);
    }
    if (this.#offering || capabilities.test("")) this.offered = this.#offering;
    return this.#done(line);
  }

  /** RFC 9051, section 7: "*" begins what answers no command by itself, "+" asks for more of one. */
  #taggedLine(line: string, at: number): Progress {
    if (line.startsWith("*")) return this.#readOn(line);
    if (line.startsWith("+")) {
      this.#client.skip(this.#literal);
      this.#literal = 0;
      return this.#done(line);
    }
    const [, tag, answer = ""] = /^([^ ]+) ?(.*)$/.exec(line) ?? [];
    const index = this.#pending.findIndex((command) => command.tag === tag);
    if (index < 0) throw broken("server", "The server answers what it was not asked");
    this.#literal = 0;
    this.#continues = false;
    return this.#answer(this.#pending.splice(index, 1)[0], answer, at);
  }

  /** A line of an answer that goes on; bytes that are no lines may follow it. */
  #readOn(line: string): Progress {
    const [, length] = this.#is.literal?.exec(line) ?? [];
    if (length !== undefined) this.#server.skip(Number(length));
    return MORE;
  }

  #answer(command: Command | undefined, answer: string, at: number): Progress {
    const { agreed, answeredAlike, foreign, capabilities, final, name } = this.#is;
    if (command && foreign?.test(command.text) && /^[123]/.test(answer)) return NO;
    const agrees = agreed.test(answer);
    if (command?.asks) {
      this.#asked = false;
      const agreement = { protocol: name, next: "tls", script: this.#script.steps } as const;
      if (agrees) return { kind: "upgrade", at, agreement };
      this.refused = true;
    } else if (agrees && (!command || answeredAlike?.test(command.text) === false)) {
      // The server took for a request what was none to us.
      throw broken("server", "The server agrees to what it was not asked");
    }
    if (command && capabilities.test(command.text)) this.offered = this.#offering;
    return command && final?.(answer, command.text) ? NO : this.#done(answer);
  }

  #done(answer: string): Progress {
    this.answers += 1;
    this.#answered = 0;
    this.#first = undefined;
    this.#offering = false;
    // An answer in the midst of a text says that it was over already, as the server understood it.
    if (!this.#textAtOnce) this.#client.inText = this.#is.content?.test(answer) ?? false;
    return MORE;
  }
}
