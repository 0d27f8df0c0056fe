import type { Logger } from "pino";
import type { Feed } from "./feed.ts";
import { LineFile } from "./line-file.ts";

export interface KeylogOptions {
  readonly name: string;
  /** Every worker appends to it. Created with mode 0600 when missing. */
  readonly file: string;
  readonly log: Logger;
  /** ms until a stopped feed tries again. */
  readonly retry?: number | undefined;
}

/**
 * Writes the TLS keys of both legs in NSS's key log format (draft-ietf-tls-keylogfile). Anyone with a recording of the
 * encrypted sessions can decrypt it with them. Keys exist before the last phase of the policy: a session that is bypassed
 * or dropped late has left the keys of its server leg here.
 */
export async function createKeylogFeed(options: KeylogOptions): Promise<Feed> {
  const { name, file } = options;
  const writer = new LineFile(options);
  await writer.start();
  let sessions = 0;
  return {
    name,
    get place() {
      return writer.stopped === undefined ? file : undefined;
    },
    wants: ({ flow }) => flow === "decrypted",
    open() {
      sessions += 1;
      // The session's keys were written during its handshakes.
      return { data() {}, end() {}, reset() {}, close() {} };
    },
    takeKey: (line) => writer.take(line),
    pressure: () => undefined,
    counters: () => ({
      name,
      kind: "keylog",
      state: writer.stopped === undefined ? "running" : "stopped",
      reason: writer.stopped,
      sessions,
      ...writer.counters,
    }),
    close: () => writer.close(),
  };
}
