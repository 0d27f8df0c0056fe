import type { IncomingMessage } from "node:http";
import type { RequestOptions } from "node:https";
import type { Place } from "./place.ts";

/** A request to the node's API. */
export interface Sent {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
}

/** Resolves once the answer's head is there. Rejects with the system's error, or with TLS's when the certificate is not the node's. */
export function exchange({ host, port, tls }: Place, { method, path, headers, body }: Sent): Promise<IncomingMessage> {
  const wanted = { host: REACHABLE[host] ?? host, port, method, path, headers };
  // An import would read every property of the module, and one of them loads all of fetch: as long as a whole command.
  const open = tls
    ? process.getBuiltinModule("node:https").request({ ...wanted, ...trusting(tls) })
    : process.getBuiltinModule("node:http").request(wanted);
  return new Promise((resolve, reject) => {
    open.on("response", resolve).on("error", reject).end(body);
  });
}

/** Where to connect when the node listens on all addresses. */
const REACHABLE: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/**
 * The certificate that the running node wrote into its data folder is trusted as it is, whatever names it has. Otherwise its chain
 * and its names have to be right.
 */
function trusting({ certificate, authorities }: NonNullable<Place["tls"]>): RequestOptions {
  if (certificate !== undefined)
    return { ca: certificate, allowPartialTrustChain: true, checkServerIdentity: () => undefined };
  return authorities === undefined ? {} : { ca: [...authorities] };
}
