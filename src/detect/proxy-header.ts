import { PeerError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import { readProxyHeader } from "../wire/proxy-protocol.ts";

/** A header of the PROXY protocol at the beginning of a connection. */
export interface ProxyHeaderSight {
  readonly kind: "header";
  readonly version: 1 | 2;
  /** The client that it names; undefined: the sender does not know it, or the connection is the sender's own. */
  readonly source: Endpoint | undefined;
  /** The header's length in bytes. */
  readonly length: number;
}

/** "likely": more than half of a signature has come. "unlikely": what has come may as well be another protocol's. */
export type ProxyHeaderSighting =
  | { readonly kind: "no" | "likely" | "unlikely" }
  | ProxyHeaderSight
  | { readonly kind: "malformed"; readonly message: string };

const SIGNATURES = [
  { version: 1, text: "PROXY ", telling: 5 },
  // An empty line or two may be anybody's.
  { version: 2, text: "\r\n\r\n\0\r\nQUIT\n", telling: 5 },
] as const;

/** `bytes` are all bytes of the connection so far. */
export function sightProxyHeader(bytes: Buffer): ProxyHeaderSighting {
  for (const { version, text, telling } of SIGNATURES) {
    const begun = bytes.toString("latin1", 0, text.length);
    if (begun !== text.slice(0, begun.length)) continue;
    if (begun.length < text.length) return { kind: begun.length < telling ? "unlikely" : "likely" };
    return read(bytes, version);
  }
  return { kind: "no" };
}

function read(bytes: Buffer, version: 1 | 2): ProxyHeaderSighting {
  try {
    const reading = readProxyHeader(bytes);
    if (reading.kind === "more") return { kind: "likely" };
    return { kind: "header", version, source: reading.header.source, length: reading.length };
  } catch (error) {
    if (error instanceof PeerError) return { kind: "malformed", message: error.message };
    throw error;
  }
}
