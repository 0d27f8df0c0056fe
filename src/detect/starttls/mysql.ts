import { Accumulator } from "../../wire/accumulator.ts";
import { broken, type Dialogue, DialogueReader, MORE, NO, type Progress, Script } from "./dialogue.ts";

/** Bit 11 of both capability fields: the server can speak TLS, the client wants it. */
const CLIENT_SSL = 0x0800;
/** A packet's header: three bytes of length, low byte first, and the packet's number. */
const HEADER = 4;
const MAX_GREETING = 65_536;
const VERSION_10 = 10;
/**
 * The length of an SSLRequest: capabilities, largest packet, character set, 23 bytes of zero. Servers go by its capability alone and
 * take longer ones too.
 */
const SSL_REQUEST = 32;
const MAX_SSL_REQUEST = 4_096;

/**
 * MySQL and MariaDB: the server greets and says whether it can speak TLS. A client that wants TLS answers with an
 * SSLRequest and sends its ClientHello at once: the greeting was the server's agreement.
 */
export function openMysql(): Dialogue {
  return new MysqlDialogue();
}

class MysqlDialogue extends DialogueReader {
  readonly protocol = "MySQL";
  readonly #script = new Script();
  readonly #greeting = new Accumulator();
  readonly #request = new Accumulator();

  protected override onServer(bytes: Buffer): Progress {
    if (this.certain) throw sentAfterGreeting();
    this.#greeting.append(bytes);
    const packet = packetOf(this.#greeting.bytes, 0);
    if (packet === "other" || (packet !== "more" && packet[0] !== VERSION_10)) return NO;
    if (packet === "more") return MORE;
    this.certain = true;
    this.answers = 1;
    this.offered = (capabilitiesOf(packet) & CLIENT_SSL) !== 0;
    if (this.#greeting.length > HEADER + packet.length) throw sentAfterGreeting();
    return this.offered ? MORE : NO;
  }

  protected override onClient(bytes: Buffer): Progress {
    if (!this.certain) return NO;
    const before = this.#request.length;
    this.#request.append(bytes.subarray(0, HEADER + MAX_SSL_REQUEST));
    const { bytes: head } = this.#request;
    if (head.length < HEADER + 2) return MORE;
    const length = head.readUIntLE(0, 3);
    const asks = head[3] === 1 && (head.readUInt16LE(HEADER) & CLIENT_SSL) !== 0;
    if (!asks || length < SSL_REQUEST || length > MAX_SSL_REQUEST) return NO;
    if (head.length < HEADER + length) return MORE;
    this.#script.add(1, head.subarray(0, HEADER + length));
    return this.upgrade(HEADER + length - before, this.#script);
  }
}

function sentAfterGreeting() {
  return broken("server", "The server sent more after its greeting, before the client answered");
}

/** The payload of the packet with this number. "other": the bytes are not that packet. */
function packetOf(bytes: Buffer, number: number): Buffer | "more" | "other" {
  if (bytes.length < HEADER) return "more";
  const length = bytes.readUIntLE(0, 3);
  if (bytes[3] !== number || length > MAX_GREETING || length === 0) return "other";
  return bytes.length < HEADER + length ? "more" : bytes.subarray(HEADER, HEADER + length);
}

/** HandshakeV10: protocol version, server version up to a zero byte, thread, eight bytes of a nonce, a filler, capabilities. */
function capabilitiesOf(packet: Buffer): number {
  const end = packet.indexOf(0, 1);
  const at = end + 1 + 4 + 8 + 1;
  return end < 0 || at + 2 > packet.length ? 0 : packet.readUInt16LE(at);
}
