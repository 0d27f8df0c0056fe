import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { type ConnectionOptions, connect } from "node:tls";
import type { End } from "../engine/end.ts";
import { endAndSocket, writer } from "../engine/test-ends.ts";
import { readUntil } from "../streams/reading.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { createContextCache } from "./contexts.ts";

/** For tests of legs: what every leg needs, and real hellos. */

/** What every leg is opened with. */
export const COMMON = { writer, contexts: createContextCache(1000), timeout: 10_000, dhBits: 4096 };

/** What is done when a test, or a part of it, is over. */
export class Cleanup {
  readonly #steps: (() => unknown)[] = [];

  after(step: () => unknown): void {
    this.#steps.push(step);
  }

  close(): void {
    for (const step of this.#steps.splice(0)) step();
  }
}

/** The hello that waits on this end, read as the node reads it: its bytes stay there. */
export async function readHello(end: End): Promise<ClientHello> {
  const reader = createClientHelloReader();
  const judge = (_: string, bytes: Buffer) => {
    const sighting = reader.push(bytes);
    return sighting.kind === "more" ? undefined : sighting;
  };
  const { answer } = await readUntil({ client: end }, judge, { silence: 10_000, gap: 10_000 });
  assert.ok(answer?.kind === "hello", "what was read is no ClientHello");
  return answer.hello;
}

/** The hello in these bytes. */
export function helloOf(bytes: Buffer): ClientHello {
  const sighting = createClientHelloReader().push(bytes);
  assert.ok(sighting.kind === "hello", "these bytes are no ClientHello");
  return sighting.hello;
}

/** What Node's own client offers. */
export async function nodesHello(options: ConnectionOptions): Promise<ClientHello> {
  const cleanup = new Cleanup();
  const [end, socket] = await endAndSocket(cleanup);
  connect({ socket, servername: "leg.test", ...options }).on("error", () => {});
  const hello = await readHello(end);
  cleanup.close();
  return hello;
}

/** Reads a socket to its end. Rejects when it is reset. */
export async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
