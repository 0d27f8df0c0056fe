import { readFileSync } from "node:fs";
import type { Connection, ConnectionEvent, Established, SavedSession } from "../../../src/ssl3/connection.ts";
import { clientOf, SMALL, seeded, serverOf, sessionMap } from "./sides.ts";

/**
 * Conversations between the engine, with fixed randomness, and OpenJDK 17's JSSE, recorded by `scripts/record-ssl3.ts`. Each file
 * has one connection: "<" lines are the bytes from the peer, ">" lines the engine's answers.
 */
export interface Conversation {
  readonly name: string;
  readonly side: "client" | "server";
  readonly suite: string;
  /** JSSE's versions. */
  readonly versions: string;
  /** The conversation whose session it resumes. */
  readonly resumes?: string;
}

export const CONVERSATIONS: readonly Conversation[] = [
  { name: "server-rsa-aes128", side: "server", suite: "TLS_RSA_WITH_AES_128_CBC_SHA", versions: "SSLv3" },
  {
    name: "server-rsa-aes128-resumed",
    side: "server",
    suite: "TLS_RSA_WITH_AES_128_CBC_SHA",
    versions: "SSLv3",
    resumes: "server-rsa-aes128",
  },
  { name: "server-sslv2-format", side: "server", suite: "TLS_RSA_WITH_RC4_128_MD5", versions: "SSLv2Hello+SSLv3" },
  { name: "server-dhe-3des", side: "server", suite: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA", versions: "SSLv3" },
  { name: "server-ecdhe-rc4", side: "server", suite: "TLS_ECDHE_RSA_WITH_RC4_128_SHA", versions: "SSLv3" },
  { name: "client-rsa-rc4", side: "client", suite: "TLS_RSA_WITH_RC4_128_SHA", versions: "SSLv3" },
  {
    name: "client-rsa-rc4-resumed",
    side: "client",
    suite: "TLS_RSA_WITH_RC4_128_SHA",
    versions: "SSLv3",
    resumes: "client-rsa-rc4",
  },
  { name: "client-dhe-aes256", side: "client", suite: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", versions: "SSLv3" },
  { name: "client-ecdhe-3des", side: "client", suite: "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", versions: "SSLv3" },
];

const MESSAGE = "The engine says this over SSL 3.0.";

/** The engine's side of a conversation. Its randomness is fixed, so the same input gives the same output. */
export interface Speaker {
  readonly connection: Connection;
  /** Takes every event of the connection. */
  on(event: ConnectionEvent): void;
  established(): Established | undefined;
}

export function speak({ name, side, suite }: Conversation, session: SavedSession | undefined): Speaker {
  const sessions = sessionMap();
  if (session) sessions.keep(session);
  const random = seeded(name);
  const suites = [SUITE_IDS[suite]!];
  const connection =
    side === "client"
      ? clientOf({ random, suites, session })
      : serverOf({ random, identities: [SMALL], find: sessions.find });
  let established: Established | undefined;
  let heard = "";
  return {
    connection,
    established: () => established,
    on(event) {
      if (event.kind === "open") {
        established = event.established;
        connection.send(Buffer.from(side === "client" ? MESSAGE : "recorded\n"));
      } else if (event.kind === "data" && side === "server") connection.send(Buffer.from(event.bytes));
      else if (event.kind === "data") {
        heard += event.bytes.toString("latin1");
        if (heard.endsWith(MESSAGE)) connection.close();
      } else if (event.kind === "end" && side === "server") connection.close();
    },
  };
}

const SUITE_IDS: Readonly<Record<string, number>> = {
  TLS_RSA_WITH_AES_128_CBC_SHA: 0x002f,
  TLS_RSA_WITH_RC4_128_MD5: 0x0004,
  TLS_RSA_WITH_RC4_128_SHA: 0x0005,
  TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA: 0x0016,
  TLS_DHE_RSA_WITH_AES_256_CBC_SHA: 0x0039,
  TLS_ECDHE_RSA_WITH_RC4_128_SHA: 0xc011,
  TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA: 0xc012,
};

export function fileOf(name: string): URL {
  return new URL(`${name}.txt`, import.meta.url);
}

/** The lines of a recorded conversation. */
export function linesOf(name: string): { readonly isPeers: boolean; readonly bytes: Buffer }[] {
  const lines = readFileSync(fileOf(name), "utf8").trim().split("\n");
  return lines.map((line) => ({ isPeers: line.startsWith("<"), bytes: Buffer.from(line.slice(2), "hex") }));
}
