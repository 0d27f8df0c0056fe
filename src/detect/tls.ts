import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import type { Opening } from "./detector.ts";

/** Detects a client that begins with a ClientHello. A server that sends before the hello is complete does not speak TLS. */
export function openTls(): Opening {
  const reader = createClientHelloReader();
  return {
    feed(side, bytes) {
      if (side === "server") return { kind: bytes.length === 0 ? "more" : "no" };
      const sighting = reader.push(bytes);
      if (sighting.kind !== "hello") return sighting;
      return { kind: "match", sight: { protocol: "tls", hello: sighting.hello } };
    },
  };
}
