import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer, type Server as TlsServer } from "node:https";

/** A certificate with its chain, and its key, in PEM. */
export interface Certificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A request's head comes at once, or not at all. In ms. */
const TIMES = { requestTimeout: 30_000, headersTimeout: 10_000, connectionsCheckingInterval: 5_000 };
const HANDSHAKE = 10_000;

/** A server of HTTP, or of HTTPS when there is a certificate. */
export function createHttpServer(certificate: Certificate | undefined, handler: RequestListener): Server {
  if (!certificate) return createServer(TIMES, handler);
  const tls = { minVersion: "TLSv1.2", handshakeTimeout: HANDSHAKE, ...contextOf(certificate) } as const;
  return createTlsServer({ ...TIMES, ...tls }, handler);
}

/** New connections get this certificate. */
export function changeCertificate(server: Server, certificate: Certificate): void {
  (server as TlsServer).setSecureContext({ minVersion: "TLSv1.2", ...contextOf(certificate) });
}

function contextOf({ certificatePem, keyPem }: Certificate) {
  return { cert: certificatePem, key: keyPem };
}
