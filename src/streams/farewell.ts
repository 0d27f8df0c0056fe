import type { Socket } from "node:net";

/** ms in which the last bytes must have been taken. */
const PATIENCE = 2_000;

/**
 * Sends the last bytes of a connection and closes it. What the peer still sends is read and thrown away: a close with
 * unread bytes makes the kernel answer with a RST, which would overtake the message. A second farewell does nothing.
 */
export function farewell(socket: Socket, bytes: Uint8Array | string): void {
  if (socket.destroyed || socket.writableEnded) return;
  const timer = setTimeout(() => socket.destroy(), PATIENCE);
  socket.once("close", () => clearTimeout(timer));
  socket.once("end", () => socket.destroySoon());
  socket.end(bytes);
  socket.resume();
}
