import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import { PeerError } from "../../errors.ts";
import { encode, encodeOid, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { make } from "../x509/test-chain.ts";
import { mirror } from "./mirror.ts";

const dns = (text: string) => encode(0x82, Buffer.from(text, "latin1"));
const email = (text: string) => encode(0x81, Buffer.from(text, "latin1"));
const uri = (text: string) => encode(0x86, Buffer.from(text, "latin1"));
const ip = (...bytes: number[]) => encode(0x87, Buffer.from(bytes));
const other = encode(0xa0, encodeOid(OID.commonName), encode(0xa0, encode(TAG.utf8String, Buffer.from("x"))));

async function original(
  names: readonly Buffer[] | undefined,
  subject = "O=Example, CN=www.example.com",
): Promise<Buffer> {
  const value = names && encode(TAG.sequence, ...names);
  const extensions = value ? [new x509.Extension("2.5.29.17", false, value)] : [];
  return (await make({ subject, extensions })).der;
}

const MISLEADING: readonly (readonly [string, Buffer])[] = [
  ["a NUL", dns("www.example.com\0.evil.example")],
  ["a comma", dns("www.example.com, DNS:evil.example")],
  ["a blank", dns("www example.com")],
  ["a line break", dns("www.example.com\nevil.example")],
  ["an e-mail address", email("root@example.com")],
  ["an e-mail address as a DNS name", dns("root@example.com")],
  ["a URI", uri("https://www.example.com/")],
  ["a URI as a DNS name", dns("https://www.example.com/")],
  ["*", dns("*")],
  ["an empty name", dns("")],
  ["a dot", dns(".")],
  ["a dot in front", dns(".example.com")],
  ["a dot at the end", dns("www.example.com.")],
  ["two dots", dns("www..example.com")],
  ["a wildcard in the middle", dns("www.*.example.com")],
  ["a part of a label as a wildcard", dns("w*.example.com")],
  ["two wildcards", dns("*.*.example.com")],
  ["an address as a DNS name", dns("192.0.2.1")],
  ["bytes beyond ASCII", dns("b\xfccher.example")],
  ["a name of 300 characters", dns(`${"a.".repeat(148)}com`)],
  ["an address of five bytes", ip(1, 2, 3, 4, 5)],
  ["an address with a mask", ip(192, 0, 2, 0, 255, 255, 255, 0)],
  ["another kind of name", other],
];

for (const [what, name] of MISLEADING) {
  test(`Of a server's names, ${what} is not copied`, async () => {
    const { subjectAltName, subject } = mirror(await original([name, dns("www.example.com"), name]));
    assert.equal(subjectAltName?.toString("hex"), encode(TAG.sequence, dns("www.example.com")).toString("hex"));
    assert.match(subject.toString("latin1"), /www\.example\.com/);
  });

  test(`Where ${what} is the only name, no name is copied, and no common name takes its place`, async () => {
    const { subjectAltName, subject } = mirror(await original([name]));
    assert.equal(subjectAltName, undefined);
    assert.doesNotMatch(subject.toString("latin1"), /www\.example\.com/);
    assert.match(subject.toString("latin1"), /Example/);
  });
}

test("DNS names and addresses that a client can ask for are copied byte for byte, in their order", async () => {
  const names = [
    ...["www.example.com", "*.example.com", "WWW.Example.ORG", "localhost", "a_b.example", "xn--bcher-kva.example"].map(
      dns,
    ),
    ...[ip(192, 0, 2, 1), ip(...Array.from({ length: 16 }, () => 1))],
  ];
  const { subjectAltName } = mirror(await original(names));
  assert.equal(subjectAltName?.toString("hex"), encode(TAG.sequence, ...names).toString("hex"));
});

test("Without alternative names the subject is copied byte for byte", async () => {
  const der = await original(undefined);
  const { subject, subjectAltName } = mirror(der);
  const issued = new x509.X509Certificate(der);
  assert.equal(subjectAltName, undefined);
  assert.ok(subject.equals(Buffer.from(issued.subjectName.toArrayBuffer())));
});

test("Without alternative names a common name with a NUL in it is left out", async () => {
  const der = await original(undefined, "O=Example, CN=www.example.com#evil.example");
  const forged = Buffer.from(der.toString("latin1").replaceAll("com#evil", "com\0evil"), "latin1");
  assert.ok(new X509Certificate(forged));
  const { subject } = mirror(forged);
  assert.doesNotMatch(subject.toString("latin1"), /www\.example\.com/);
  assert.match(subject.toString("latin1"), /Example/);
});

test("Alternative names that are no list of names are an error of the server's", async () => {
  const extensions = [new x509.Extension("2.5.29.17", false, Buffer.from([0x04, 0]))];
  const { der } = await make({ subject: "CN=x", extensions });
  assert.throws(() => mirror(der), PeerError);
});
