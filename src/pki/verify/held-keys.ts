import type { X509Certificate } from "node:crypto";
import type { Fault } from "../../vocabulary.ts";
import type { InboundKey } from "../keys/inbound-key.ts";
import { isFor } from "./verify.ts";

/** A server that has not proved that it has the same private key as the node. */
export interface UnprovenServer {
  readonly leaf: X509Certificate;
  readonly faults: readonly Fault[];
  /** The name or address that the client requested; undefined: it is not known. */
  readonly host: string | undefined;
  readonly address: string;
}

/**
 * Of the node's keys for a server, those whose certificates the clients may be shown. A client that is shown one takes the
 * server for the real one, so a server with faults gets none, unless the key's own setting accepts them all.
 */
export function keysToShow(
  held: readonly InboundKey[],
  { leaf, faults, host, address }: UnprovenServer,
): readonly InboundKey[] {
  return held.filter(({ hosts, acceptFaults = [] }) => {
    // Without a requested name nobody has compared names: a certificate for somebody else's host proves nothing here.
    const isNamed = host !== undefined || [address, ...hosts].some((name) => isFor(leaf, name));
    const all: readonly Fault[] = isNamed ? faults : [...faults, "hostMismatch"];
    return all.every((fault) => acceptFaults.includes(fault));
  });
}
