import assert from "node:assert/strict";
import { BindingSearch } from "../../../src/detect/channel-binding.ts";
import { Exchange } from "../../../src/detect/exchange.ts";
import { sightProxyHeader } from "../../../src/detect/proxy-header.ts";
import { createRequestHeadReader, REQUEST_LIMITS } from "../../../src/detect/request-head.ts";
import { sightRequest } from "../../../src/detect/request-sight.ts";
import { readResponseHead } from "../../../src/detect/response-head.ts";
import { asksProxy, openDialogue, openWatch } from "../../../src/detect/starttls/dialogues.ts";
import { TlsSearch } from "../../../src/detect/starttls/tls-search.ts";
import { readProxyHeader } from "../../../src/wire/proxy-protocol.ts";
import { createLineRemover } from "../../../src/wire/sslproxy-line.ts";
import { HELLO_12 } from "../../odd-hellos/hello.ts";
import type { Dice } from "../damage.ts";
import { conversation, type Parser, pieces, turnsOf } from "../parser.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const text = (...lines: readonly string[]) => Buffer.from(lines.map((line) => `${line}\r\n`).join(""), "latin1");

/** A conversation up to TLS of each protocol that is watched. */
const DIALOGUES: Readonly<Record<string, Buffer>> = {
  SMTP: conversation("< 220 mail ESMTP", "> EHLO a", "< 250-mail", "< 250 STARTTLS", "> STARTTLS", "< 220 go"),
  IMAP: conversation(
    "< * OK [CAPABILITY IMAP4rev1 STARTTLS] x",
    "> a ID ({3+}",
    "> abc)",
    "< a OK",
    "> b STARTTLS",
    "< b OK",
  ),
  POP3: conversation("< +OK <1@a>", "> CAPA", "< +OK", "< STLS", "< .", "> STLS", "< +OK go"),
  FTP: conversation("< 220-hi", "< 220 x", "> FEAT", "< 211-F:", "<  AUTH TLS", "< 211 End", "> AUTH TLS", "< 234 go"),
  NNTP: conversation("< 200 news", "> CAPABILITIES", "< 101 list", "< STARTTLS", "< .", "> STARTTLS", "< 382 go"),
  ManageSieve: conversation('< "SIEVE" "fileinto"', '< "STARTTLS"', '< OK "x"', "> STARTTLS", '< OK "begin"'),
  XMPP: conversation(
    "> <?xml version='1.0'?><stream:stream to='a' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    "< <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
    "> <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "< <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
  ),
  LDAP: conversation(
    ["client", hex("301d 020102 7718 8016 312e332e362e312e342e312e313436362e3230303337")],
    ["server", hex("300c 020102 7807 0a0100 0400 0400")],
  ),
  PostgreSQL: conversation(["client", hex("00000008 04d2162f")], ["server", Buffer.from("S")]),
  MySQL: conversation(
    [
      "server",
      hex(
        "41 000000 0a 31302e31312e31392d4d61726961444200 01010101 0202020202020202 00 ffff 00000000000000000000000000000000000000",
      ),
    ],
    ["client", hex(`20 000001 0008 ${"00".repeat(30)}`)],
  ),
  CONNECT: conversation(
    "> CONNECT www.example.com:443 HTTP/1.1",
    "> Host: www.example.com:443",
    "> ",
    "< HTTP/1.1 200 OK",
    "< ",
  ),
};

/** One outcome however the bytes are cut: "more", "no", "upgrade" or "broken", and where. */
function followDialogue(protocol: string) {
  return (input: Buffer, dice: Dice): void => {
    const dialogue = openDialogue(protocol);
    // A name that is unknown would test nothing.
    assert.ok(dialogue, `there is no dialogue ${protocol}`);
    for (const [side, bytes] of turnsOf(input)) {
      for (const piece of pieces(bytes, dice)) {
        const progress = dialogue.feed(side, piece);
        if (progress.kind === "upgrade") assert.ok(progress.at >= 0 && progress.at <= piece.length);
        if (progress.kind !== "more") return;
      }
    }
  };
}

function search(input: Buffer, dice: Dice): void {
  const found = new TlsSearch(openWatch({ startTls: true }), dice(2) === 0);
  for (const [side, bytes] of turnsOf(input)) {
    const progress = found.feed(side, bytes, dice(2) === 0);
    assert.ok(progress.at >= 0 && progress.at <= bytes.length, "more passes than came");
    if (progress.kind === "upgrade" || progress.kind === "tls") return;
  }
}

const REQUESTS = [
  text("GET /a?b HTTP/1.1", "Host: www.example.com", "Accept: text/html", ""),
  text("GET http://www.example.com:8080/ HTTP/1.1", "Host: www.example.com", "Connection: keep-alive, x", "X: y", ""),
  text("POST / HTTP/1.1", "Host: [2001:db8::1]:80", "Transfer-Encoding: chunked", "", "5;x", "abcde", "0", ""),
  text("CONNECT www.example.com:443 HTTP/1.1", "Host: www.example.com:443", "Proxy-Authorization: Basic eDp5", ""),
  text("OPTIONS * HTTP/1.0", "Content-Length: 3", "", "abc"),
];
const RESPONSES = [
  text("HTTP/1.1 200 OK", "Content-Length: 2", "", "hi"),
  text("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "2", "hi", "0", ""),
  text("HTTP/1.1 100 Continue", "", "HTTP/1.1 204 No", ""),
  text("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", ""),
];

/** The head is the same however the bytes are cut. */
function readRequest(bytes: Buffer, dice: Dice): void {
  const uris = (["http", "any"] as const)[dice(2)]!;
  const whole = createRequestHeadReader(REQUEST_LIMITS, uris).push(bytes);
  const reader = createRequestHeadReader(REQUEST_LIMITS, uris);
  let last = reader.push(Buffer.alloc(0));
  for (const piece of pieces(bytes, dice)) last = reader.push(piece);
  assert.deepEqual(last, whole, "cutting the bytes changes the answer");
}

function exchange(input: Buffer, dice: Dice): void {
  const rewrites = dice(2) === 0;
  const requests = new Exchange(
    { host: "www.example.com", port: rewrites ? 8080 : undefined },
    { limits: REQUEST_LIMITS, rewrites },
  );
  for (const [side, bytes] of turnsOf(input)) {
    for (let at = 0; at <= bytes.length; ) {
      const step = requests.next(side, bytes.subarray(at));
      if (step.kind !== "pass" && step.kind !== "replace") break;
      const drop = step.kind === "replace" ? step.drop - step.by.length : 0;
      assert.ok(step.length > 0 || drop > 0, "nothing passes, for ever");
      at += step.length + drop;
      requests.passed(side);
    }
  }
}

const SECOND = hex("0d0a0d0a000d0a515549540a");
const PROXY_HEADERS = [
  text("PROXY TCP4 192.0.2.1 198.51.100.1 50000 443"),
  text("PROXY TCP6 2001:db8::1 2001:db8::2 50000 443"),
  text("PROXY UNKNOWN"),
  Buffer.concat([SECOND, hex("21 11 000c c0000201 c6336401 c350 01bb")]),
  Buffer.concat([
    SECOND,
    hex("21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 c350 01bb"),
  ]),
  Buffer.concat([
    SECOND,
    hex("21 11 0020 c0000201 c6336401 c350 01bb 010002 6832 02000b 7777772e6578616d706c 05 0000"),
  ]),
  Buffer.concat([SECOND, hex("20 00 0000")]),
];

function readHeader(bytes: Buffer): void {
  const sight = sightProxyHeader(bytes);
  const reading = readProxyHeader(bytes);
  if (reading.kind === "header") assert.ok(reading.length <= bytes.length, "the header is longer than the bytes");
  if (sight.kind === "header") assert.equal(reading.kind, "header", "two readings of one header");
}

const LINE = text("SSLproxy: [127.0.0.1]:3129,[192.0.2.1]:50000,[198.51.100.1]:443,s");

function removeLine(bytes: Buffer, dice: Dice): void {
  const remover = createLineRemover(LINE);
  const kept = [...pieces(bytes, dice)].map((piece) => remover.take(piece));
  const length = Buffer.concat([...kept, remover.end()]).length;
  assert.ok(length === bytes.length || length === bytes.length - LINE.length, "bytes are lost");
}

const LOGINS = [
  text("AUTH SCRAM-SHA-256-PLUS biws"),
  text("a AUTHENTICATE SCRAM-SHA-1-PLUS"),
  Buffer.from("p\0\0\0\x36SCRAM-SHA-256-PLUS\0\0\0\0\x20p=tls-server-end-point,,n=,r=abc", "latin1"),
  Buffer.from("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1-PLUS'>cD10bHMtdW5pcXVl</auth>"),
];

const all = Object.values(DIALOGUES);
export const PLAINTEXT_PARSERS: readonly Parser[] = [
  ...Object.entries(DIALOGUES).map(([protocol, seed]) => ({
    name: protocol.toLowerCase(),
    of: `both peers: ${protocol} up to TLS`,
    seeds: [seed, ...all.filter((other) => other !== seed).slice(0, 3)],
    read: followDialogue(protocol),
    every: 2,
  })),
  {
    name: "watch",
    of: "both peers: all dialogues at once, and TLS in anything",
    seeds: [...all, conversation("< 220 x", ["client", HELLO_12])],
    read: search,
    every: 4,
  },
  { name: "request-head", of: "clients: HTTP and CONNECT heads", seeds: REQUESTS, read: readRequest, every: 2 },
  {
    name: "response-head",
    of: "servers: HTTP heads",
    seeds: RESPONSES,
    read: (bytes, dice) => [readResponseHead(bytes, dice(2) === 0), sightRequest(bytes), asksProxy(bytes)],
  },
  {
    name: "requests",
    of: "both peers: HTTP/1.x as messages, chunks among them",
    seeds: REQUESTS.flatMap((asked) => RESPONSES.map((answer) => conversation(["client", asked], ["server", answer]))),
    read: exchange,
    every: 2,
  },
  { name: "proxy-header", of: "proxies and tools: PROXY, versions 1 and 2", seeds: PROXY_HEADERS, read: readHeader },
  {
    name: "sslproxy-line",
    of: "tools: what follows their line",
    seeds: [LINE, Buffer.concat([LINE, REQUESTS[0]!])],
    read: removeLine,
  },
  {
    name: "channel-binding",
    of: "clients: log-ins that are bound to TLS",
    seeds: LOGINS,
    read(bytes, dice) {
      const binding = new BindingSearch();
      for (const piece of pieces(bytes, dice)) if (binding.push(piece) !== "more") return;
    },
  },
];
