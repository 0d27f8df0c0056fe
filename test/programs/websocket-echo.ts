/** A WebSocket server behind nginx, for the browser test: sends back each message. Argument: the port. */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { Duplex } from "node:stream";

const server = createServer((_request, response) => response.writeHead(426).end());
server.on("upgrade", ({ headers }, socket: Duplex) => {
  // RFC 6455, section 1.3.
  const accept = createHash("sha1")
    .update(`${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  const fields = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields.join("\r\n")}\r\n\r\n`);
  socket.on("error", () => socket.destroy());
  let unread = Buffer.alloc(0);
  socket.on("data", (bytes: Buffer) => {
    unread = Buffer.concat([unread, bytes]);
    for (let frame = takeFrame(unread); frame !== undefined; frame = takeFrame(unread)) {
      unread = unread.subarray(frame.length);
      socket.write(Buffer.concat([header(frame.opcode, frame.payload.length), frame.payload]));
      if (frame.opcode === 8) socket.end();
    }
  });
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => console.log("READY"));

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
  readonly length: number;
}

/** RFC 6455, section 5.2: a client's frames are masked. The browser test sends at most 65,535 bytes in a frame. */
function takeFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < 6) return undefined;
  const short = bytes[1]! & 127;
  const maskAt = short === 126 ? 4 : 2;
  if (bytes.length < maskAt + 4) return undefined;
  const size = short === 126 ? bytes.readUInt16BE(2) : short;
  const length = maskAt + 4 + size;
  if (bytes.length < length) return undefined;
  const mask = bytes.subarray(maskAt, maskAt + 4);
  const payload = Buffer.from(bytes.subarray(maskAt + 4, length).map((byte, at) => byte ^ mask[at % 4]!));
  return { opcode: bytes[0]! & 15, payload, length };
}

function header(opcode: number, size: number): Buffer {
  return size < 126 ? Buffer.from([0x80 | opcode, size]) : Buffer.from([0x80 | opcode, 126, size >> 8, size & 255]);
}
