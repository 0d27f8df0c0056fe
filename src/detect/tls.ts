import { createClientHelloReader } from "../wire/client-hello-reader.ts";
import { beginsRecord } from "../wire/record.ts";
import type { Opening } from "./detector.ts";

const NOTHING = Buffer.alloc(0);

/**
 * Detects a client that begins with a ClientHello. A server that sends before the hello is complete does not speak TLS, unless its
 * bytes begin a TLS record: clients read past a warning alert, so a server could take itself out of the policy by sending one first.
 */
export function openTls(): Opening {
  const reader = createClientHelloReader();
  let fromServer = NOTHING;
  return {
    feed(side, bytes) {
      if (side === "server") {
        fromServer = Buffer.concat([fromServer, bytes]).subarray(0, 2);
        return { kind: beginsRecord(fromServer) ? "more" : "no" };
      }
      const sighting = reader.push(bytes);
      if (sighting.kind !== "hello") return sighting;
      return { kind: "match", sight: { protocol: "tls", hello: sighting.hello } };
    },
  };
}
