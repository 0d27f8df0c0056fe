import { Accumulator } from "../../wire/accumulator.ts";
import { blankDialogue, broken, type Dialogue, MORE, NO, type Progress, Script } from "./dialogue.ts";

/** The server's capability, and the client's wish: bit 11 of both capability fields. */
const CLIENT_SSL = 0x0800;
/** A packet's header: three bytes of length, low byte first, and its number. */
const HEADER = 4;
const MAX_GREETING = 4_096;
const VERSION_10 = 10;
/** An SSLRequest is the first part of the client's answer to the greeting: capabilities, largest packet, character set, 23 more. */
const SSL_REQUEST = 32;

/**
 * MySQL and MariaDB: the server greets and says whether it can do TLS. A client that wants it answers with an SSLRequest,
 * and its ClientHello follows at once: the server has agreed with its greeting.
 */
export function openMysql(): Dialogue {
  const script = new Script();
  const greeting = new Accumulator();
  const request = new Accumulator();
  const dialogue = blankDialogue("MySQL", feed);
  return dialogue;

  function feed(side: "client" | "server", bytes: Buffer): Progress {
    if (bytes.length === 0) return MORE;
    return side === "server" ? hear(bytes) : listen(bytes);
  }

  function hear(bytes: Buffer): Progress {
    // It says one thing, and waits.
    if (dialogue.certain) throw broken("server", "The server sent more behind its greeting");
    greeting.append(bytes);
    const packet = packetOf(greeting.bytes, 0);
    if (packet === "other" || (packet !== "more" && packet[0] !== VERSION_10)) return NO;
    if (packet === "more") return MORE;
    dialogue.certain = true;
    dialogue.answers = 1;
    dialogue.offered = (capabilitiesOf(packet) & CLIENT_SSL) !== 0;
    if (greeting.length > HEADER + packet.length) throw broken("server", "The server sent more behind its greeting");
    return dialogue.offered ? MORE : NO;
  }

  function listen(bytes: Buffer): Progress {
    if (!dialogue.certain) return NO;
    const before = request.length;
    request.append(bytes.subarray(0, HEADER + SSL_REQUEST));
    const { bytes: head } = request;
    if (head.length < HEADER + 2) return MORE;
    const asks =
      head.readUIntLE(0, 3) === SSL_REQUEST && head[3] === 1 && (head.readUInt16LE(HEADER) & CLIENT_SSL) !== 0;
    if (!asks) return NO;
    if (head.length < HEADER + SSL_REQUEST) return MORE;
    const at = HEADER + SSL_REQUEST - before;
    script.add(1, head.subarray(0, HEADER + SSL_REQUEST));
    return { kind: "upgrade", at, agreement: { protocol: dialogue.protocol, next: "tls", script: script.steps } };
  }
}

/** The payload of the packet with this number, when the bytes are one. */
function packetOf(bytes: Buffer, number: number): Buffer | "more" | "other" {
  if (bytes.length < HEADER) return "more";
  const length = bytes.readUIntLE(0, 3);
  if (bytes[3] !== number || length > MAX_GREETING || length === 0) return "other";
  return bytes.length < HEADER + length ? "more" : bytes.subarray(HEADER, HEADER + length);
}

/** HandshakeV10: version, the server's version up to a zero byte, thread, eight bytes of a nonce, a filler, capabilities. */
function capabilitiesOf(packet: Buffer): number {
  const end = packet.indexOf(0, 1);
  const at = end + 1 + 4 + 8 + 1;
  return end < 0 || at + 2 > packet.length ? 0 : packet.readUInt16LE(at);
}
