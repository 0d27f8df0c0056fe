import type { Feed } from "./feed.ts";
import { LineFile, type LineFileOptions, NO_BYTES } from "./line-file.ts";

/**
 * Writes the TLS keys of both legs in NSS's key log format (draft-ietf-tls-keylogfile). Anyone with a recording of the
 * encrypted sessions can decrypt it with them. Keys exist before the last phase of the policy: a session that is bypassed
 * or dropped late has left the keys of its server leg here.
 */
export async function createKeylogFeed(options: LineFileOptions): Promise<Feed> {
  const { name } = options;
  const writer = new LineFile(options);
  await writer.start();
  let sessions = 0;
  return {
    name,
    get place() {
      return writer.place;
    },
    wants: ({ flow }) => flow === "decrypted",
    open() {
      sessions += 1;
      // The session's keys were written during its handshakes.
      return NO_BYTES;
    },
    takeKey: (line) => writer.take(line),
    pressure: () => undefined,
    counters: () => ({ name, kind: "keylog", sessions, ...writer.counters() }),
    close: () => writer.close(),
  };
}
