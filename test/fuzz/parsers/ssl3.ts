import assert from "node:assert/strict";
import { PeerError } from "../../../src/errors.ts";
import type { SavedSession } from "../../../src/ssl3/connection.ts";
import { writeKeys } from "../../../src/ssl3/derivation.ts";
import { readCertificate, readServerHello } from "../../../src/ssl3/messages.ts";
import { RecordReader, RecordWriter } from "../../../src/ssl3/record-layer.ts";
import { suitesFor } from "../../../src/ssl3/suites.ts";
import { CONVERSATIONS, type Conversation, linesOf, speak } from "../../recorded/ssl3/recorded.ts";
import { clientOf, ECDSA, hear, SMALL, seeded, serverOf } from "../../recorded/ssl3/sides.ts";
import { conversation, type Parser, turnsOf } from "../parser.ts";
import { learn, recall } from "../remembered.ts";

/** The engine of SSL 3.0, which is the node's own: on its records, its messages, and whole recorded conversations. */

const SUITES = suitesFor("all").filter(({ exchange }) => exchange === "rsa");
const SEALED = SUITES.map((suite) => {
  const randoms = { client: Buffer.alloc(32, 1), server: Buffer.alloc(32, 2) };
  const keys = writeKeys(Buffer.alloc(48), randoms, suite).client;
  const writer = new RecordWriter();
  writer.protect(suite, keys);
  return {
    suite,
    keys,
    wire: Buffer.concat([22, 23, 21].flatMap((type) => writer.write(type, Buffer.alloc(150, type)))),
  };
});

/** The first byte names the suite. */
function readSealed(bytes: Buffer): void {
  const { suite, keys } = SEALED[(bytes[0] ?? 0) % SEALED.length]!;
  const reader = new RecordReader("version");
  reader.protect(suite, keys);
  reader.push(bytes.subarray(1));
  while (reader.next());
}

const peersOf = (name: string) =>
  linesOf(name)
    .filter(({ isPeers }) => isPeers)
    .map(({ bytes }) => bytes);
const [HELLO, FLIGHT] = ["server-rsa-aes128", "client-rsa-rc4"].map((name) => Buffer.concat(peersOf(name)));
// After the headers of the hello, and of the certificate that follows it.
const END = 5 + FLIGHT!.readUInt16BE(3);

function meet(side: ReturnType<typeof clientOf>, bytes: Buffer): void {
  hear(side, bytes);
  side.take();
  hear(side, Buffer.from([22, 3, 0, 0, 4, 0, 0, 0, 0]));
}

/** The saved session that each recorded connection starts with. */
const SESSIONS = new Map<string, SavedSession | undefined>();

/** Plays the engine's side. Answers whether the connection opened. */
function converse(which: Conversation, lines: Iterable<Buffer>): boolean {
  const { name, resumes } = which;
  const { connection, on, established } = speak(which, resumes === undefined ? undefined : SESSIONS.get(resumes));
  connection.take();
  for (const bytes of lines) {
    for (const event of hear(connection, bytes).events) {
      try {
        on(event);
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
      }
    }
    connection.take();
  }
  if (!SESSIONS.has(name)) SESSIONS.set(name, established()?.session);
  return established() !== undefined;
}

for (const which of CONVERSATIONS) {
  const opened = learn(() => converse(which, peersOf(which.name)));
  assert.ok(opened, `the recorded conversation ${which.name} completes without a change`);
}
/** With the randomness that it had when the flight was recorded: without damage, the handshake completes. */
const firstServer = () => serverOf({ random: seeded("server-rsa-aes128"), identities: [SMALL, ECDSA] });
learn(() => meet(firstServer(), HELLO!));
learn(() => meet(clientOf(), FLIGHT!));

export const SSL3_PARSERS: readonly Parser[] = [
  {
    name: "ssl3-records",
    of: "peers over SSL 3.0: protected records",
    seeds: SEALED.map(({ wire }, index) => Buffer.concat([Buffer.of(index), wire])),
    read: readSealed,
    every: 2,
  },
  { name: "ssl3-server-hello", of: "servers over SSL 3.0", seeds: [FLIGHT!.subarray(9, END)], read: readServerHello },
  { name: "ssl3-certificate", of: "servers over SSL 3.0", seeds: [FLIGHT!.subarray(END + 9)], read: readCertificate },
  {
    name: "ssl3-first-client",
    of: "clients over SSL 3.0: the first flight",
    seeds: [HELLO!],
    read: (bytes) => recall(() => meet(firstServer(), bytes)),
    every: 5,
  },
  {
    name: "ssl3-first-server",
    of: "servers over SSL 3.0: the first flight",
    seeds: [FLIGHT!],
    read: (bytes) => recall(() => meet(clientOf(), bytes)),
    every: 10,
  },
  {
    name: "ssl3-conversation",
    of: "peers over SSL 3.0: whole connections, both roles",
    // The first byte names the conversation.
    seeds: CONVERSATIONS.map(({ name }, index) =>
      Buffer.concat([Buffer.of(index), conversation(...peersOf(name).map((bytes) => ["client", bytes] as const))]),
    ),
    read(bytes) {
      const which = CONVERSATIONS[(bytes[0] ?? 0) % CONVERSATIONS.length]!;
      const parts = [...turnsOf(bytes.subarray(1))].map(([, part]) => part);
      recall(() => converse(which, parts));
    },
    every: 50,
  },
];
