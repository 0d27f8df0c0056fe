import { Socket } from "node:net";
import { NetworkError } from "../errors.ts";
import { copyDescriptor, End } from "./end.ts";
import type { Loop } from "./loop.ts";

/**
 * Connections travel between processes over Node's IPC, which sends sockets of Node's only: an end becomes one for the journey, and
 * an end again where it arrives. Nothing is read on the way, so the connection's bytes wait in the kernel.
 */

/** A socket of Node's that has the end's connection and does not read. The end is closed. Throws NetworkError when it is already. */
export function toNodeSocket(end: End): Socket {
  // Node's types do not know manualStart: without it the socket would begin to read.
  const options = { fd: end.release(), manualStart: true, allowHalfOpen: true };
  const socket = new Socket(options);
  socket.on("error", () => {});
  return socket;
}

/** An end that has the connection of a socket that has just been received. The socket is destroyed. Throws NetworkError. */
export function fromNodeSocket(loop: Loop, socket: Socket): End {
  stopReading(socket);
  const handle = handleOf(socket);
  try {
    if (!handle) throw new NetworkError("The connection was closed on its way", "ECONNRESET");
    return End.adopt(loop, copyDescriptor(handle.fd));
  } finally {
    socket.destroy();
  }
}

/** Node reads from a socket as soon as it has received it: what it read would be lost for the process that gets it next. */
export function stopReading(socket: Socket): void {
  socket.on("error", () => {});
  handleOf(socket)?.readStop();
}

/** Node has no other way to a socket's descriptor. Null: it is closed. */
function handleOf(socket: Socket): { readonly fd: number; readStop(): void } | null {
  return (socket as unknown as { readonly _handle: { readonly fd: number; readStop(): void } | null })._handle;
}
