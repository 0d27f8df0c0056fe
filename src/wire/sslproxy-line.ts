import type { Endpoint } from "../vocabulary.ts";

/** The values of the line that SSLproxy writes before a connection's first packet, for programs that understand it. */
export interface SslproxyLineValues {
  /** The program connects to this address instead of to the server. */
  readonly back: Endpoint;
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** Whether the connection was TLS before it was decrypted. */
  readonly decrypted: boolean;
}

export function writeSslproxyLine({ back, client, server, decrypted }: SslproxyLineValues): Buffer {
  const ends = [back, client, server].map(({ address, port }) => `[${address}]:${port}`);
  return Buffer.from(`SSLproxy: ${ends.join(",")},${decrypted ? "s" : "p"}\r\n`, "latin1");
}

/** Removes the line from a stream. */
export interface LineRemover {
  /** These bytes without the line. Bytes that may be the line's beginning are held back. */
  take(bytes: Buffer): Buffer;
  /** The stream has ended. Answers the bytes that were held back. */
  end(): Buffer;
}

/**
 * Removes the line from what a program sends back, so that the server never sees it. Most programs pass it on: at the
 * front, or in HTTP among the header fields of the first packet. Only the first packet is searched.
 */
export function createLineRemover(line: Buffer): LineRemover {
  let held = Buffer.alloc(0);
  let done = false;
  return {
    take(bytes) {
      if (done) return bytes;
      const all = held.length === 0 ? bytes : Buffer.concat([held, bytes]);
      held = Buffer.alloc(0);
      if (all.length < line.length && line.subarray(0, all.length).equals(all)) {
        held = Buffer.from(all);
        return held.subarray(0, 0);
      }
      done = true;
      const at = all.indexOf(line);
      return at === -1 ? all : Buffer.concat([all.subarray(0, at), all.subarray(at + line.length)]);
    },
    end() {
      done = true;
      const rest = held;
      held = Buffer.alloc(0);
      return rest;
    },
  };
}
