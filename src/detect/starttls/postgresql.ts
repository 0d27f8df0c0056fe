import { Accumulator } from "../../wire/accumulator.ts";
import { blankDialogue, broken, type Dialogue, MORE, NO, type Progress, Script } from "./dialogue.ts";

/** Both are eight bytes: their length, then a number. PostgreSQL's manual, "Message Formats". */
const SSL_REQUEST = Buffer.from("0000000804d2162f", "hex");
const GSSENC_REQUEST = Buffer.from("0000000804d21630", "hex");
const [ACCEPTED, DECLINED] = [Buffer.from("S"), Buffer.from("N")];

/**
 * PostgreSQL's frontend/backend protocol: the client asks with SSLRequest, the server answers with one byte. A client may
 * ask for GSSAPI encryption before. Direct TLS needs no dialogue.
 */
export function openPostgresql(): Dialogue {
  const script = new Script();
  let request = new Accumulator();
  let asked: "ssl" | "gss" | undefined;
  const dialogue = blankDialogue("PostgreSQL", feed);
  return dialogue;

  function feed(side: "client" | "server", bytes: Buffer): Progress {
    if (bytes.length === 0) return MORE;
    return side === "client" ? listen(bytes) : hear(bytes);
  }

  function listen(bytes: Buffer): Progress {
    if (asked) throw broken("client", "The client sent more behind its request for encryption");
    script.add(dialogue.answers, bytes);
    request.append(bytes.subarray(0, SSL_REQUEST.length + 1));
    const length = Math.min(request.length, SSL_REQUEST.length);
    const begins = (wanted: Buffer) => request.bytes.subarray(0, length).equals(wanted.subarray(0, length));
    if (!begins(SSL_REQUEST) && !begins(GSSENC_REQUEST)) return NO;
    if (length < SSL_REQUEST.length) return MORE;
    dialogue.certain = true;
    asked = begins(SSL_REQUEST) ? "ssl" : "gss";
    if (request.length > length) throw broken("client", "The client sent more behind its request for encryption");
    request = new Accumulator();
    return MORE;
  }

  function hear(bytes: Buffer): Progress {
    const answer = bytes.subarray(0, 1);
    // GSSAPI encryption, an error's text, or a server that speaks unasked.
    if (!asked || (!answer.equals(DECLINED) && !(asked === "ssl" && answer.equals(ACCEPTED)))) return NO;
    // CVE-2021-23222: what stands behind the answer would be taken for a part of what comes encrypted.
    if (bytes.length > 1) throw broken("server", "The server sent more behind its answer to a request for encryption");
    dialogue.answers += 1;
    if (asked === "ssl") dialogue.offered = answer.equals(ACCEPTED);
    if (dialogue.offered) {
      return { kind: "upgrade", at: 1, agreement: { protocol: dialogue.protocol, next: "tls", script: script.steps } };
    }
    dialogue.refused = asked === "ssl";
    asked = undefined;
    return MORE;
  }
}
