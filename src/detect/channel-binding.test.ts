import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BindingSearch } from "./channel-binding.ts";

const CLIENT_FIRST = "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL";
const bound = (type: string) => CLIENT_FIRST.replace("n,,", `p=${type},,`);
const base64 = (text: string) => Buffer.from(text).toString("base64");

function postgres(mechanism: string, response: string): Buffer {
  const body = Buffer.concat([Buffer.from(`${mechanism}\0`), Buffer.alloc(4), Buffer.from(response)]);
  const head = Buffer.alloc(5, "p");
  head.writeUInt32BE(body.length + 4, 1);
  body.writeUInt32BE(response.length, mechanism.length + 1);
  return Buffer.concat([head, body]);
}

function ldap(mechanism: string): Buffer {
  const name = Buffer.from(mechanism);
  const sasl = Buffer.concat([Buffer.from([0xa3, name.length + 2, 0x04, name.length]), name]);
  return Buffer.concat([Buffer.from([0x30, 0x20, 2, 1, 1, 0x60, 0x1b, 2, 1, 3, 4, 0]), sasl]);
}

const STARTUP = Buffer.from("\0\0\0\x21\0\x03\0\0user\0bench\0database\0bench\0\0", "latin1");

const CASES: readonly (readonly [what: string, bytes: Buffer, mechanism: string, toCertificate?: boolean])[] = [
  [
    "PostgreSQL",
    Buffer.concat([STARTUP, postgres("SCRAM-SHA-256-PLUS", bound("tls-server-end-point"))]),
    "SCRAM-SHA-256-PLUS",
    true,
  ],
  [
    "IMAP with an initial response",
    Buffer.from(`a1 CAPABILITY\r\na2 AUTHENTICATE SCRAM-SHA-1-PLUS ${base64(bound("tls-exporter"))}\r\n`),
    "SCRAM-SHA-1-PLUS",
    false,
  ],
  ["IMAP without one", Buffer.from("a2 authenticate SCRAM-SHA-256-PLUS\r\n"), "SCRAM-SHA-256-PLUS"],
  ["POP3 and SMTP", Buffer.from("EHLO me\r\nAUTH SCRAM-SHA-512-PLUS\r\n"), "SCRAM-SHA-512-PLUS"],
  [
    "ManageSieve",
    Buffer.from(`AUTHENTICATE "SCRAM-SHA-1-PLUS" "${base64(bound("tls-unique"))}"\r\n`),
    "SCRAM-SHA-1-PLUS",
    false,
  ],
  [
    "XMPP",
    Buffer.from(
      `<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1-PLUS'>${base64(bound("tls-server-end-point"))}</auth>`,
    ),
    "SCRAM-SHA-1-PLUS",
    true,
  ],
  [
    "XMPP, SASL2",
    Buffer.from('<authenticate xmlns="urn:xmpp:sasl:2" mechanism="SCRAM-SHA-256-PLUS">'),
    "SCRAM-SHA-256-PLUS",
  ],
  ["LDAP", ldap("SCRAM-SHA-256-PLUS"), "SCRAM-SHA-256-PLUS"],
  [
    "LDAP without the suffix",
    Buffer.concat([ldap("SCRAM-SHA-256"), Buffer.from("\x04\x80", "latin1"), Buffer.from(bound("tls-unique"))]),
    "SCRAM-SHA-256",
    false,
  ],
];

for (const [what, bytes, mechanism, toCertificate] of CASES) {
  test(`A bound log-in is recognised: ${what}`, () => {
    assert.deepEqual(new BindingSearch().push(bytes), { mechanism, toCertificate });
  });

  test(`It is recognised in pieces too: ${what}`, () => {
    const search = new BindingSearch();
    const answers = [...bytes].map((byte) => search.push(Buffer.from([byte])));
    const found = answers.find((answer) => answer !== "more");
    assert.equal(typeof found === "object" && found.mechanism, mechanism);
  });
}

test("A log-in that is not bound, and text about one, is none", () => {
  for (const text of [
    postgres("SCRAM-SHA-256", CLIENT_FIRST).toString("latin1"),
    "a2 AUTHENTICATE SCRAM-SHA-256\r\n",
    "Subject: about SCRAM-SHA-256-PLUS\r\n\r\nUse AUTH SCRAM-SHA-256-PLUS there.\r\n",
    "<mechanism>SCRAM-SHA-1-PLUS</mechanism>",
    "AUTH PLAIN AGEAYg==\r\nMAIL FROM:<a>\r\nDATA\r\nThere is p=tls-unique, and so on\r\n",
  ]) {
    assert.equal(new BindingSearch().push(Buffer.from(text, "latin1")), "more", text);
  }
});

test("What is inside of HTTP is no log-in, in pieces either", () => {
  for (const text of [
    "GET /docs/SCRAM-SHA-256-PLUS HTTP/1.1\r\nHost: x\r\n\r\n",
    "POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\nAUTH SCRAM-SHA-256-PLUS\r\n",
    `PUT /${"a".repeat(2_000)} HTTP/1.0\r\n\r\nAUTH SCRAM-SHA-256-PLUS\r\n`,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nAUTH SCRAM-SHA-256-PLUS\r\n",
  ]) {
    assert.equal(new BindingSearch().push(Buffer.from(text)), "no", text);
  }
  const search = new BindingSearch();
  assert.equal(search.push(Buffer.from("POST /notes ")), "more");
  assert.equal(search.push(Buffer.from("HTTP/1.1\r\n\r\nAUTH SCRAM-SHA-256-PLUS\r\n")), "no");
});

test("Only the first 16 KiB are looked at, whatever they are, and nothing more is kept", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 3_000 }), (bytes) => {
      const search = new BindingSearch();
      for (let left = 6; left > 0; left -= 1) if (search.push(Buffer.from(bytes)) === "no") return true;
      return bytes.length * 6 < 16 * 1024;
    }),
  );
  const search = new BindingSearch();
  assert.equal(search.push(Buffer.alloc(20_000)), "no");
});
