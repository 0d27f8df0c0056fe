import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { readUntil } from "../src/streams/reading.ts";
import type { ClientHello } from "../src/wire/client-hello.ts";
import { createClientHelloReader } from "../src/wire/client-hello-reader.ts";

/** Reads a real client's ClientHello from a socket as the node does, with its bytes. A leg can take the socket over. */
export async function readHello(socket: Socket): Promise<{ hello: ClientHello; bytes: Buffer }> {
  const reader = createClientHelloReader();
  const judge = (_: string, bytes: Buffer) => {
    const sighting = reader.push(bytes);
    return sighting.kind === "more" ? undefined : sighting;
  };
  const { answer, client } = await readUntil({ client: socket }, judge, { silence: 5_000, gap: 5_000 });
  assert.ok(answer?.kind === "hello", "what was read is no ClientHello");
  return { hello: answer.hello, bytes: client };
}
