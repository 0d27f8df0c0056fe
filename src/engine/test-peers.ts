import type { Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import type { TlsVersion } from "../vocabulary.ts";

/** For tests: Node's own TLS on a connection's other end. */

export function request(
  socket: Socket,
  options: {
    readonly pem: string;
    readonly keyPem: string;
    readonly version: TlsVersion;
    readonly requestCert: boolean;
  },
): TLSSocket {
  const { pem, keyPem, version, requestCert } = options;
  const secureContext = createSecureContext({ cert: pem, key: keyPem, minVersion: version, maxVersion: version });
  const stream = new TLSSocket(socket, { isServer: true, secureContext, requestCert, rejectUnauthorized: false });
  return stream.on("error", () => {});
}
