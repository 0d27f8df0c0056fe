import type { Socket } from "node:net";

/** ms that the peer has to take the last bytes and close. */
const CLOSE_TIME = 2_000;

/**
 * Sends the last bytes of a connection and closes it. Bytes that the peer still sends are read and dropped: if they were
 * left unread, the kernel would send a RST, which could overtake the last bytes. A second call does nothing.
 */
export function farewell(socket: Socket, bytes: Uint8Array | string): void {
  if (socket.destroyed || socket.writableEnded) return;
  const timer = setTimeout(() => socket.destroy(), CLOSE_TIME);
  socket.once("close", () => clearTimeout(timer));
  socket.once("end", () => socket.destroySoon());
  socket.end(bytes);
  socket.resume();
}
