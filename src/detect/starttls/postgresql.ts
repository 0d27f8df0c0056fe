import { Accumulator } from "../../wire/accumulator.ts";
import {
  type Dialogue,
  DialogueReader,
  MORE,
  NO,
  type Progress,
  Script,
  sentAfterAgreement,
  sentAfterRequest,
} from "./dialogue.ts";

/** Each is eight bytes: its length, then a number. PostgreSQL's manual, "Message Formats". */
const SSL_REQUEST = Buffer.from("0000000804d2162f", "hex");
const GSSENC_REQUEST = Buffer.from("0000000804d21630", "hex");
const [ACCEPTED, DECLINED] = [Buffer.from("S"), Buffer.from("N")];

/**
 * PostgreSQL's frontend/backend protocol: the client asks with an SSLRequest, and the server answers with one byte. A client
 * may ask for GSSAPI encryption first. TLS without a request ("direct") needs no dialogue.
 */
export function openPostgresql(): Dialogue {
  return new PostgresqlDialogue();
}

class PostgresqlDialogue extends DialogueReader {
  readonly protocol = "PostgreSQL";
  readonly #script = new Script();
  #request = new Accumulator();
  /** The request that has no answer yet. */
  #asked: "ssl" | "gss" | undefined;

  override get awaiting(): boolean {
    return this.#asked !== undefined;
  }

  protected override onClient(bytes: Buffer): Progress {
    if (this.#asked) throw sentAfterRequest();
    this.#script.add(this.answers, bytes);
    this.#request.append(bytes.subarray(0, SSL_REQUEST.length + 1));
    const length = Math.min(this.#request.length, SSL_REQUEST.length);
    const beginning = this.#request.bytes.subarray(0, length);
    const [ssl, gss] = [SSL_REQUEST, GSSENC_REQUEST].map((wanted) => beginning.equals(wanted.subarray(0, length)));
    if (!ssl && !gss) return NO;
    if (length < SSL_REQUEST.length) return MORE;
    this.certain = true;
    this.#asked = ssl ? "ssl" : "gss";
    if (this.#request.length > length) throw sentAfterRequest();
    this.#request = new Accumulator();
    return MORE;
  }

  protected override onServer(bytes: Buffer): Progress {
    const answer = bytes.subarray(0, 1);
    const accepts = this.#asked === "ssl" && answer.equals(ACCEPTED);
    // Otherwise GSSAPI encryption follows, or an error's text, or it is another protocol.
    if (!this.#asked || (!accepts && !answer.equals(DECLINED))) return NO;
    if (bytes.length > 1) throw sentAfterAgreement();
    this.answers += 1;
    if (this.#asked === "ssl") this.offered = accepts;
    if (accepts) return this.upgrade(1, this.#script);
    this.refused = this.#asked === "ssl";
    this.#asked = undefined;
    return MORE;
  }
}
