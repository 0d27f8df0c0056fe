import assert from "node:assert/strict";
import { bearerOf, isLocalHost } from "../../../src/control/auth.ts";
import { COOKIE, Logins } from "../../../src/control/logins.ts";
import { createMessageReader, HEAD, MESSAGES, writeHead } from "../../../src/feeds/http-link.ts";
import { createPieceReader } from "../../../src/feeds/worker-links.ts";
import { readDated, writeDated } from "../../../src/fleet/dated.ts";
import { attributesOf, splitMessages, uint32, writeMessage } from "../../../src/linux/nfnetlink.ts";
import { readMessages } from "../../../src/linux/nfqueue-messages.ts";
import { readIpHeader, readReset, readSyn, readSynAck } from "../../../src/linux/packet.ts";
import { readBook } from "../../../src/policy/bypass-book.ts";
import { createHostSet } from "../../../src/policy/host-set.ts";
import { readList } from "../../../src/policy/list.ts";
import { createSealer } from "../../../src/resumption/seal.ts";
import { readHosts, searchDomains } from "../../../src/streams/host-files.ts";
import { readLine } from "../../../src/supervisor/log/line.ts";
import { readHost } from "../../../src/wire/host-name.ts";
import { corpus } from "../corpus.ts";
import type { Dice } from "../damage.ts";
import { type Parser, pieces } from "../parser.ts";

/** What comes from the kernel, from the node's other processes, its store, its API's clients, and the files of operators. */

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const V4 = hex("45b8003c 12344000 3f060000 c0000201 c6336401 c35001bb 01020304 00000000 a002ffff 00000000");
const V6 = hex(
  "62912345 00280000 20010db8000000000000000000000001 20010db8000000000000000000000002 c35001bb 01020304 00000000 5002ffff 00000000",
);
V6[6] = 6;
const OPTIONS = Buffer.concat([V6.subarray(0, 40), hex("0600000000000000"), V6.subarray(40)]);
OPTIONS[6] = 60;

const PACKETS = [
  writeMessage(0x300, 0, 7, [
    [1, Buffer.concat([uint32(99), hex("0800 01")])],
    [3, uint32(5)],
    [10, V4],
  ]),
  writeMessage(2, 0, 7, [[1, uint32(0)]]),
  writeMessage(0x400, 0, 3, [[9, V6]]),
];

function readNetlink(bytes: Buffer): void {
  for (const message of readMessages(bytes)) {
    if (message.kind !== "packet") continue;
    for (const read of [readSyn, readSynAck, readReset, readIpHeader]) read(message.packet.payload);
  }
  for (const message of splitMessages(bytes)) for (const [, value] of attributesOf(message)) readSyn(value);
}

function messageOf(kind: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(HEAD);
  writeHead(head, 0, { kind, session: 7, time: 1_790_000_000_000, length: payload.length });
  return Buffer.concat([head, payload]);
}

/** The same bytes in the same order, however they are cut; never more than came. */
function readViewMessages(bytes: Buffer, dice: Dice): void {
  const told = (all: Iterable<Buffer>) => {
    let text = "";
    let isRefused = false;
    const read = createMessageReader(
      ({ kind, session, payload }) => {
        // Data comes in the parts in which it arrived.
        text += kind === MESSAGES.client || kind === MESSAGES.server ? payload.toString("hex") : `[${kind} ${session}]`;
      },
      () => {
        isRefused = true;
      },
    );
    for (const piece of all) if (!isRefused) read(piece);
    return text;
  };
  assert.equal(told(pieces(bytes, dice)), told([bytes]), "cutting the bytes changes the answer");
}

function readPieces(bytes: Buffer, dice: Dice): void {
  let [taken, isRefused] = [0, false];
  const read = createPieceReader(
    (blocks) => {
      taken += blocks.length;
      return false;
    },
    () => {
      isRefused = true;
    },
  );
  for (const piece of pieces(bytes, dice)) if (!isRefused) read(Buffer.from(piece));
  assert.ok(taken <= bytes.length, "more is delivered than came");
}

const piece = (blocks: Buffer) => {
  const head = Buffer.alloc(12);
  for (const [at, value] of [blocks.length, 1, 1].entries()) head.writeUInt32LE(value, 4 * at);
  return Buffer.concat([head, blocks]);
};

const SEAL = createSealer(Buffer.alloc(32, 1))("session", ["name", 1]);
const VALUE = writeDated({ at: 1_790_000_000_000, until: 1_790_000_300_000, bytes: Buffer.alloc(90, 5) });
const STORED = corpus("store");

function openStored(bytes: Buffer): void {
  const opened = SEAL.open(bytes);
  assert.ok(!opened || STORED.some((sealed) => sealed.equals(bytes)), "a value is opened that nobody sealed");
  readDated(bytes);
}

const ENTRY = { id: "0123abcd", entry: "www.example.com", author: "me", comment: "", made: 1_790_000_000_000 };
const BOOK = { bypasses: [{ ...ENTRY, expires: null }], removed: [{ id: "89abcdef", until: 1_790_000_300_000 }] };

function readShared(bytes: Buffer): void {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    return;
  }
  const { book } = readBook(value);
  assert.deepEqual(readBook(JSON.parse(JSON.stringify(book))).problems, [], "a book is read that cannot be written");
}

const LOGINS = new Logins();
LOGINS.open({ name: "me", role: "viewer" }, () => true);

function readHeaders(bytes: Buffer): void {
  const header = bytes.toString("latin1");
  bearerOf(header);
  isLocalHost(header);
  assert.equal(LOGINS.find(header), undefined, "somebody is logged in without the cookie");
}

function readOperatorsList(bytes: Buffer): void {
  const { entries } = readList(bytes.toString("utf8"));
  createHostSet(entries.map((entry) => [entry, true] as const));
}

const ascii = (text: string) => Buffer.from(text, "latin1");
export const NODE_PARSERS: readonly Parser[] = [
  {
    name: "netlink",
    of: "the kernel: NFQUEUE and NFLOG, and the packets in them",
    seeds: [...PACKETS, Buffer.concat(PACKETS)],
    read: readNetlink,
  },
  {
    name: "packet",
    of: "anybody: SYNs, and RSTs, of IPv4 and IPv6",
    seeds: [V4, V6, OPTIONS],
    read: (bytes) => [readSyn, readSynAck, readReset, readIpHeader].map((read) => read(bytes)),
  },
  {
    name: "view-link",
    of: "workers: copies for the HTTP view's process",
    seeds: [
      Buffer.concat([
        messageOf(MESSAGES.open, ascii("{}")),
        messageOf(MESSAGES.client, ascii("GET /")),
        messageOf(MESSAGES.close, Buffer.alloc(0)),
      ]),
    ],
    read: readViewMessages,
  },
  {
    name: "feed-link",
    of: "workers: pieces of a feed",
    seeds: [Buffer.concat([piece(V4), piece(V6)])],
    read: readPieces,
  },
  {
    name: "store",
    of: "the store: sealed values",
    seeds: [...STORED, VALUE],
    read: openStored,
    every: 2,
  },
  {
    name: "bypass-book",
    of: "nodes of the fleet, and the data folder",
    seeds: [Buffer.from(JSON.stringify(BOOK))],
    read: readShared,
  },
  {
    name: "headers",
    of: "clients of the API: tokens, cookies, Host",
    seeds: [ascii(`${COOKIE}=${"a".repeat(43)}; b=c`), ascii(`Bearer ${"b".repeat(43)}`), ascii("[::1]:8484")],
    read: readHeaders,
    every: 2,
  },
  {
    name: "list",
    of: "operators' files: lists of hosts and addresses",
    seeds: [ascii("# list\r\nwww.example.com\n*.example.org # x\n192.0.2.0/24\n2001:db8::/32\n192.0.2.1-192.0.2.9\n")],
    read: readOperatorsList,
    every: 4,
  },
  {
    name: "host-files",
    of: "the system: hosts, resolv.conf, log lines",
    seeds: [
      ascii("127.0.0.1 localhost a.example\n::1 ip6-localhost # x\n"),
      ascii("search a.example b.example\n"),
      ascii('{"level":30,"time":1,"msg":"x"}'),
    ],
    read: (bytes) => [readHosts(bytes.toString()), searchDomains(bytes.toString()), readLine(bytes.toString())],
  },
  {
    name: "host",
    of: "anybody: names and addresses of hosts",
    seeds: [ascii("www.example.com."), ascii("[2001:db8::1]"), ascii("192.0.2.1")],
    read: (bytes) => readHost(bytes.toString("latin1")),
  },
];
