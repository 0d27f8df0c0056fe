import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import type { Identity } from "../../test/pki.ts";

const CHUNK = 16 * 1024;
const noise = randomBytes(CHUNK);

/** A download of so many chunks, with so many ms between two. */
export interface Download {
  readonly chunks: number;
  readonly every: number;
}

/** The hash that a whole download has. */
export function hashOf({ chunks }: Download): string {
  const hash = createHash("sha256");
  for (let chunk = 0; chunk < chunks; chunk++) hash.update(noise);
  return hash.digest("hex");
}

export interface Origin extends AsyncDisposable {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Takes connections that were accepted elsewhere too: `emit("connection", socket)`. */
  readonly server: Server;
}

/** The server behind the node: GET /CHUNKS/EVERY sends a download. It closes no connection on its own. */
export async function openOrigin({ certificate, key }: Identity): Promise<Origin> {
  const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
    const [chunks = 1, every = 0] = (request.url ?? "").split("/").slice(1).map(Number);
    response.writeHead(200, { "content-length": chunks * CHUNK });
    send(chunks);
    function send(left: number): void {
      if (response.destroyed) return;
      if (left === 0) return void response.end();
      const isTaken = response.write(noise);
      const next = () => setTimeout(send, every, left - 1);
      if (isTaken) next();
      else response.once("drain", next);
    }
  });
  server.keepAliveTimeout = 0;
  server.headersTimeout = 0;
  server.on("tlsClientError", () => undefined);
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
