import type { Endpoint } from "../vocabulary.ts";

/** The line that SSLproxy puts in front of a connection's first packet, for programs that are written for it. */
export interface SslproxyStatement {
  /** Where the program is to connect to, instead of to the server. */
  readonly back: Endpoint;
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** Whether the bytes came in TLS. */
  readonly decrypted: boolean;
}

export function writeSslproxyLine({ back, client, server, decrypted }: SslproxyStatement): Buffer {
  const ends = [back, client, server].map(({ address, port }) => `[${address}]:${port}`);
  return Buffer.from(`SSLproxy: ${ends.join(",")},${decrypted ? "s" : "p"}\r\n`, "latin1");
}

/** Takes bytes from the front of a stream. */
export interface Sieve {
  /** What is left of these bytes; what may still be part of the line is kept back. */
  take(bytes: Buffer): Buffer;
  /** The stream has ended: what was kept back. */
  end(): Buffer;
}

/**
 * Takes the line off what a program sends back: most let it pass, in front or, of HTTP, among the header fields of their
 * first packet. The server must never see it. After the first packet without the line nothing is looked at any more.
 */
export function sslproxySieve(line: Buffer): Sieve {
  let kept = Buffer.alloc(0);
  let over = false;
  return {
    take(bytes) {
      if (over) return bytes;
      const all = kept.length === 0 ? bytes : Buffer.concat([kept, bytes]);
      kept = Buffer.alloc(0);
      if (all.length < line.length && line.subarray(0, all.length).equals(all)) {
        kept = Buffer.from(all);
        return kept.subarray(0, 0);
      }
      over = true;
      const at = all.indexOf(line);
      return at === -1 ? all : Buffer.concat([all.subarray(0, at), all.subarray(at + line.length)]);
    },
    end() {
      over = true;
      const rest = kept;
      kept = Buffer.alloc(0);
      return rest;
    },
  };
}
