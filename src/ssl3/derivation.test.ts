import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { createTranscript, masterSecret, writeKeys } from "./derivation.ts";
import { createMac } from "./mac.ts";
import { suitesFor } from "./suites.ts";

/** The formulas of RFC 6101, written a second time over hexadecimal text. */
const hash =
  (name: string) =>
  (...parts: string[]) =>
    createHash(name)
      .update(Buffer.from(parts.join(""), "hex"))
      .digest("hex");
const [md5, sha] = [hash("md5"), hash("sha1")];
const text = (ascii: string) => Buffer.from(ascii).toString("hex");
const random32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const master48 = fc.uint8Array({ minLength: 48, maxLength: 48 });
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

test("The master secret is that of RFC 6101, section 6.1, for a premaster secret of any length", () => {
  const property = fc.property(fc.uint8Array({ minLength: 1, maxLength: 1024 }), random32, random32, (pre, c, s) => {
    const [p, cr, sr] = [hex(pre), hex(c), hex(s)];
    const expected = ["A", "BB", "CCC"].map((letters) => md5(p, sha(text(letters), p, cr, sr))).join("");
    assert.equal(hex(masterSecret(pre, { client: c, server: s })), expected);
  });
  fc.assert(property);
});

test("The keys of every suite are cut from the key block in the order of RFC 6101, section 6.2.2", () => {
  const property = fc.property(master48, random32, random32, fc.constantFrom(...suitesFor("all")), (m, c, s, suite) => {
    const letters = ["A", "BB", "CCC", "DDDD", "EEEEE", "FFFFFF", "GGGGGGG", "HHHHHHHH", "IIIIIIIII"];
    const block = letters.map((round) => md5(hex(m), sha(text(round), hex(m), hex(s), hex(c)))).join("");
    const { client, server } = writeKeys(m, { client: c, server: s }, suite);
    const parts = [client.macSecret, server.macSecret, client.key, server.key, client.iv, server.iv];
    assert.equal(block.startsWith(parts.map(hex).join("")), true);
    assert.equal(client.macSecret.length, suite.mac === "md5" ? 16 : 20);
    assert.equal(client.key.length, { "aes-256-cbc": 32, "des-ede3-cbc": 24 }[suite.cipher as string] ?? 16);
    assert.equal(client.iv.length, { "des-ede3-cbc": 8, rc4: 0 }[suite.cipher as string] ?? 16);
  });
  fc.assert(property);
});

test("A Finished contains the two hashes of RFC 6101, section 5.6.9", () => {
  const property = fc.property(fc.array(fc.uint8Array({ maxLength: 100 })), master48, (messages, m) => {
    const transcript = createTranscript();
    for (const message of messages) transcript.add(message);
    for (const [side, letters] of [
      ["client", "434c4e54"],
      ["server", "53525652"],
    ] as const) {
      const said = messages.map(hex).join("");
      const expected = [
        md5(hex(m), "5c".repeat(48), md5(said, letters, hex(m), "36".repeat(48))),
        sha(hex(m), "5c".repeat(40), sha(said, letters, hex(m), "36".repeat(40))),
      ];
      assert.equal(hex(transcript.finished(side, m)), expected.join(""));
    }
  });
  fc.assert(property);
});

test("A MAC is that of RFC 6101, section 5.2.3.1, for every record number", () => {
  const secret = fc.uint8Array({ minLength: 20, maxLength: 20 });
  const property = fc.property(
    secret,
    fc.maxSafeNat(),
    fc.nat(255),
    fc.uint8Array({ maxLength: 300 }),
    (k, n, type, c) => {
      const header = n.toString(16).padStart(16, "0") + type.toString(16).padStart(2, "0");
      const content = c.length.toString(16).padStart(4, "0") + hex(c);
      for (const [name, digest, pad] of [
        ["md5", md5, 48],
        ["sha1", sha, 40],
      ] as const) {
        const inner = digest(hex(k), "36".repeat(pad), header, content);
        assert.equal(hex(createMac(name, k)(n, type, c)), digest(hex(k), "5c".repeat(pad), inner));
      }
    },
  );
  fc.assert(property);
});
