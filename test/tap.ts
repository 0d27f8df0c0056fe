/** A TCP relay before or behind the node, which records all bytes. */
import { once } from "node:events";
import net from "node:net";

export interface Recording {
  /** The bytes from the client's side, and from the server's side. */
  fromClient: Buffer;
  fromServer: Buffer;
  /** How each side closed, once it has. */
  clientLeft?: "FIN" | "RST";
  serverLeft?: "FIN" | "RST";
}

export interface Tap {
  readonly port: number;
  /** Oldest first. */
  readonly connections: readonly Recording[];
  close(): void;
}

/** Forwards the first bytes of a connection, in pieces of its choice. */
export type Delivery = (first: Buffer, send: (piece: Buffer) => Promise<void>) => Promise<void>;

/** Listens on a free port of 127.0.0.1 and relays every connection to this port. */
export async function tap(target: number, deliver?: Delivery): Promise<Tap> {
  const connections: Recording[] = [];
  const sockets = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (client) => {
    const upstream = net.connect({ port: target, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const recording: Recording = { fromClient: Buffer.alloc(0), fromServer: Buffer.alloc(0) };
    connections.push(recording);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    }
    relay(client, upstream, (bytes) => (recording.fromClient = Buffer.concat([recording.fromClient, bytes])), deliver);
    relay(upstream, client, (bytes) => (recording.fromServer = Buffer.concat([recording.fromServer, bytes])));
    client.once("end", () => (recording.clientLeft ??= "FIN")).once("error", () => (recording.clientLeft = "RST"));
    upstream.once("end", () => (recording.serverLeft ??= "FIN")).once("error", () => (recording.serverLeft = "RST"));
    client.resume();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    connections,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function relay(from: net.Socket, to: net.Socket, record: (bytes: Buffer) => void, deliver?: Delivery): void {
  let first = deliver;
  let sent: Promise<void> = Promise.resolve();
  from.on("data", (bytes: Buffer) => {
    record(bytes);
    const way = first;
    first = undefined;
    sent = sent.then(() => (way === undefined ? write(to, bytes) : way(bytes, (piece) => write(to, piece))));
  });
  from.once("end", () => void sent.then(() => to.end()));
  from.once("error", () => to.resetAndDestroy());
}

function write(to: net.Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => void (to.destroyed ? resolve() : to.write(bytes, () => resolve())));
}

/** One byte at a time, each in a segment of its own, with a gap in the middle of the record. */
export function byteByByte(gapAt: number, gap: () => Promise<void>): Delivery {
  return async (first, send) => {
    for (let at = 0; at < first.length; at++) {
      if (at === gapAt) await gap();
      await send(first.subarray(at, at + 1));
    }
  };
}

/** Splits the first handshake record into records of `size` bytes: RFC 8446, section 5.1 allows it. */
export function overRecords(size: number): Delivery {
  return async (first, send) => {
    const length = first.readUInt16BE(3);
    const fragment = first.subarray(5, 5 + length);
    for (let at = 0; at < fragment.length; at += size) {
      const piece = fragment.subarray(at, at + size);
      const header = Buffer.from([first[0]!, first[1]!, first[2]!, piece.length >> 8, piece.length & 255]);
      await send(Buffer.concat([header, piece]));
    }
    if (first.length > 5 + length) await send(first.subarray(5 + length));
  };
}
