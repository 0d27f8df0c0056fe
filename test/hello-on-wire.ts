import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import type { ClientHello } from "../src/wire/client-hello.ts";
import { createClientHelloReader } from "../src/wire/client-hello-reader.ts";

/** Reads a real client's hello from a socket of the test's, with its bytes. Whoever takes the socket over puts them back. */
export async function readHello(socket: Socket): Promise<{ hello: ClientHello; bytes: Buffer }> {
  const reader = createClientHelloReader();
  const pieces: Buffer[] = [];
  for (;;) {
    const piece: Buffer | null = socket.read();
    if (piece === null) {
      await once(socket, "readable");
      continue;
    }
    pieces.push(piece);
    const sighting = reader.push(piece);
    if (sighting.kind === "more") continue;
    assert.ok(sighting.kind === "hello", "what was read is no ClientHello");
    return { hello: sighting.hello, bytes: Buffer.concat(pieces) };
  }
}
