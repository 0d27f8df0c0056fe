import assert from "node:assert/strict";
import { test } from "node:test";
import type { OfferedCertificate } from "./ca-files.ts";
import { answerCa } from "./ca-page.ts";

const one = (keyType: "ecdsa" | "rsa", stage: "present" | "next", byte: number): OfferedCertificate => ({
  ...{ keyType, stage, isRoot: true, notAfter: Date.UTC(2036, 10, 20) },
  subject: `CN=<i>"${keyType}"`,
  sha256: Buffer.alloc(32, byte).toString("hex"),
  pem: `-----BEGIN CERTIFICATE-----\n${Buffer.alloc(60, byte).toString("base64")}\n-----END CERTIFICATE-----\n`,
});
const present = [one("ecdsa", "present", 1), one("rsa", "present", 2)];
const both = [...present, one("ecdsa", "next", 3), one("rsa", "next", 4)];
const ask = (path: string, certificates: readonly OfferedCertificate[] = present) =>
  answerCa(path, { certificates, address: "http://ca.test/<b>" });

test("The page has the fingerprints, the files, a QR picture and instructions, and no script", () => {
  for (const path of ["/", "/ca", "/ca/", "/ca?a=b"]) assert.equal(ask(path).body, ask("/ca").body);
  const { status, type, body, fields } = ask("/ca", both);
  const html = String(body);
  assert.deepEqual([status, type], [200, "text/html; charset=utf-8"]);
  assert.match(fields["Content-Security-Policy"] ?? "", /^default-src 'none'/);
  for (const byte of [1, 2, 3, 4]) assert.ok(html.includes(Array(32).fill(`0${byte}`).join(":")));
  assert.match(html, /CN=&lt;i&gt;&quot;ecdsa&quot;|CN&#61;&lt;i&gt;&quot;ecdsa&quot;/);
  assert.match(html, /<svg role="img" aria-label=.*http:\/\/ca\.test\/&lt;b&gt;/s);
  for (const title of [
    "Windows",
    "macOS",
    "iPhone",
    "Android",
    "Debian",
    "Firefox",
    "Java",
    "Python",
    "Node.js",
    "curl",
  ])
    assert.match(html, new RegExp(`<summary>${title}`));
  assert.doesNotMatch(html, /<script|<i>|<b>/);
  assert.match(html, /about to be replaced/);
  assert.doesNotMatch(String(ask("/ca").body), /about to be replaced/);
  assert.ok(Buffer.byteLength(html) < 100_000, "it is sent in one piece");
});

test("Each link of the page leads to a file, with its type and name", () => {
  const links = [...String(ask("/ca", both).body).matchAll(/href="([^"]+)"/g)].map(([, path]) => path!);
  assert.equal(links.length, 2 + 4 * 2);
  for (const path of links) {
    const { status, fields } = ask(path, both);
    assert.equal(status, 200, path);
    assert.equal(fields["Content-Disposition"], `attachment; filename="${path.slice(4)}"`);
  }
  assert.deepEqual(Buffer.from(ask("/ca/clearline-next-ca-rsa.der", both).body), Buffer.alloc(60, 4));
  assert.equal(String(ask("/ca/clearline-ca.pem", both).body).match(/BEGIN/g)?.length, 4);
});

test("Nothing else is there", () => {
  for (const path of [
    "/ca/primary-ecdsa.key",
    "/ca/clearline-ca-ecdsa.key",
    "/ca/../token",
    "/x",
    "",
    "/ca/clearline-next-ca-rsa.pem",
  ])
    assert.equal(ask(path).status, 404, path);
});

test("The mobile profile has each certificate once, and its own UUIDs", () => {
  for (const certificates of [both, present, present.slice(0, 1)]) {
    const { type, body } = ask("/ca/clearline.mobileconfig", certificates);
    assert.equal(type, "application/x-apple-aspen-config");
    const profile = String(body);
    const uuids = [...profile.matchAll(/<key>PayloadUUID<\/key><string>([0-9A-F-]{36})<\/string>/g)];
    assert.equal(uuids.length, certificates.length + 1);
    if (certificates.length > 1) assert.equal(new Set(uuids.map(([, uuid]) => uuid)).size, uuids.length);
    assert.equal(profile.match(/<data>/g)?.length, certificates.length);
    assert.equal(profile.match(/com\.apple\.security\.root/g)?.length, certificates.length);
  }
});
