import assert from "node:assert/strict";
import { createHmac, createPrivateKey, pbkdf2Sync, X509Certificate } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { createSecureContext } from "node:tls";
import fc from "fast-check";
import { needs, program } from "../../../test/needs.ts";
import { must, scratch } from "../../../test/processes.ts";
import { ConfigError } from "../../errors.ts";
import { encode, encodeInteger, encodeOid, readElements, readInside, TAG } from "../x509/der.ts";
import { splitPem } from "../x509/pem.ts";
import { type Made, make } from "../x509/test-chain.ts";
import { readKey } from "./key-source.ts";
import { readPkcs12 } from "./pkcs12.ts";

const PASSWORD = "correct horse, sécret";

/** How openssl encrypts the certificates and the key, and authenticates the whole. */
const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  "its own choice": [],
  "triple DES and SHA-1": ["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", "-macalg", "sha1"],
  "AES-128, SHA-512": ["-keypbe", "AES-128-CBC", "-certpbe", "AES-192-CBC", "-macalg", "sha512"],
  "few rounds": ["-iter", "1", "-maciter"],
  "no encryption of certificates": ["-certpbe", "NONE"],
  "no encryption at all": ["-keypbe", "NONE", "-certpbe", "NONE"],
  "no authentication": ["-nomac"],
};

describe("PKCS#12", needs("openssl"), () => {
  const folder = scratch();
  const file = (name: string) => join(folder, name);
  let root: Made;
  let middle: Made;
  let leaf: Made;

  before(async () => {
    root = await make({ subject: "CN=root", ca: true });
    middle = await make({ subject: "CN=middle", ca: true, issuer: root });
    leaf = await make({ subject: "CN=leaf", issuer: middle, names: [["dns", "www.example.com"]] });
    writeFileSync(file("key.pem"), leaf.keyPem);
    writeFileSync(file("leaf.pem"), leaf.pem);
    // In the wrong order.
    writeFileSync(file("chain.pem"), root.pem + middle.pem);
  });

  async function exported(name: string, ...args: readonly string[]): Promise<Buffer> {
    const files = ["-inkey", file("key.pem"), "-in", file("leaf.pem"), "-certfile", file("chain.pem")];
    const out = ["-out", file(name), "-passout", `pass:${PASSWORD}`];
    await must(program("openssl"), ["pkcs12", "-export", ...files, ...out, ...args]);
    return readFileSync(file(name));
  }

  function assertIsLeaf({ certificatePem, keyPem }: { certificatePem: string; keyPem: string }, chain: number): void {
    const [first, ...above] = splitPem(certificatePem).map((pem) => new X509Certificate(pem));
    assert.ok(first?.checkPrivateKey(createPrivateKey(keyPem)));
    assert.equal(above.length, chain);
    for (const [index, issuer] of above.entries()) assert.ok([first, ...above][index]!.checkIssued(issuer));
  }

  for (const [what, args] of Object.entries(EXPORTS)) {
    test(`readPkcs12() reads a file of openssl with ${what}, and orders its chain`, async () => {
      assertIsLeaf(readPkcs12(await exported("it.p12", ...args), PASSWORD), 2);
    });
  }

  test("readPkcs12() reads a file with an empty passphrase", async () => {
    assertIsLeaf(readPkcs12(await exported("empty.p12", "-passout", "pass:"), ""), 2);
  });

  test("readPkcs12() reads a file of keytool", needs("openjdk-17-jdk-headless"), async () => {
    const store = ["-storetype", "PKCS12", "-keystore", file("java.p12"), "-storepass", "changeit"];
    const identity = ["-alias", "www", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=java"];
    await must("keytool", ["-genkeypair", ...identity, ...store]);
    assertIsLeaf(readPkcs12(readFileSync(file("java.p12")), "changeit"), 0);
  });

  test("readPkcs12() reads a file of NSS, which is BER", needs("libnss3-tools"), async () => {
    await exported("to-nss.p12", "-passout", "pass:changeit");
    mkdirSync(file("nss"));
    await must("certutil", ["-N", "-d", file("nss"), "--empty-password"]);
    await must("pk12util", ["-i", file("to-nss.p12"), "-d", file("nss"), "-W", "changeit", "-K", ""]);
    const [, name = ""] = /^(\S+)\s+u,u,u$/m.exec(await must("certutil", ["-L", "-d", file("nss")])) ?? [];
    const out = ["-o", file("nss.p12"), "-n", name, "-d", file("nss"), "-W", "changeit", "-K", ""];
    await must("pk12util", out);
    assertIsLeaf(readPkcs12(readFileSync(file("nss.p12")), "changeit"), 2);
  });

  for (const [hash, macOid, keyLength] of [
    ["sha256", "2a864886f70d0209", 32],
    ["sha512", "2a864886f70d020b", 64],
    ["sha512", "2a864886f70d020b", 32],
  ] as const) {
    test(`readPkcs12() checks PBMAC1 with ${hash} and a key of ${keyLength} bytes, as OpenSSL in Node does`, async () => {
      const [version, authSafe] = readInside(await exported("bare.p12", "-nomac"), TAG.sequence, "PFX");
      const safe = readElements(readElements(authSafe!.content)[1]!.content)[0]!.content;
      const salt = Buffer.alloc(16, 7);
      const key = pbkdf2Sync(PASSWORD, salt, 2048, keyLength, "sha256");
      const algorithm = (oid: string, ...parameters: Buffer[]) => encode(TAG.sequence, encodeOid(oid), ...parameters);
      const none = Buffer.from([5, 0]);
      const kdf = encode(
        TAG.sequence,
        encode(TAG.octetString, salt),
        encodeInteger(Buffer.from([8, 0])),
        encodeInteger(Buffer.from([keyLength])),
        algorithm("2a864886f70d0209", none),
      );
      const pbmac1 = encode(TAG.sequence, algorithm("2a864886f70d01050c", kdf), algorithm(macOid, none));
      const digest = encode(TAG.octetString, createHmac(hash, key).update(safe).digest());
      const info = encode(TAG.sequence, algorithm("2a864886f70d01050e", pbmac1), digest);
      const mac = encode(
        TAG.sequence,
        info,
        encode(TAG.octetString, Buffer.from("NOT USED")),
        encodeInteger(Buffer.from([1])),
      );
      const pfx = encode(TAG.sequence, version!.whole, authSafe!.whole, mac);

      createSecureContext({ pfx, passphrase: PASSWORD });
      assert.throws(() => createSecureContext({ pfx, passphrase: "wrong" }), /mac verify failure/i);
      assertIsLeaf(readPkcs12(pfx, PASSWORD), 2);
      assert.throws(() => readPkcs12(pfx, "wrong"), /is encrypted with another passphrase/);
    });
  }

  test("readPkcs12() reads a file of certtool", needs("gnutls-bin"), async () => {
    const files = ["--load-certificate", file("leaf.pem"), "--load-privkey", file("key.pem"), "--p12-name", "www"];
    const out = ["--outder", "--outfile", file("gnutls.p12"), "--password", "changeit"];
    // Its triple DES derives six keys of 600,000 rounds each, which takes seconds; openssl's file above has few.
    await must("certtool", ["--to-p12", ...files, ...out, "--pkcs-cipher", "aes-256"]);
    assertIsLeaf(readPkcs12(readFileSync(file("gnutls.p12")), "changeit"), 0);
  });

  test("readPkcs12() distinguishes a wrong passphrase from a file that is not PKCS#12", async () => {
    const bytes = await exported("right.p12");
    const [WRONG, NONE] = [/^ConfigError: is encrypted with another passphrase$/, /^ConfigError: is not PKCS#12$/];
    assert.throws(() => readPkcs12(bytes, "wrong"), WRONG);
    assert.throws(() => readPkcs12(bytes, ""), WRONG);
    assert.throws(() => readPkcs12(Buffer.from(leaf.pem), PASSWORD), NONE);
    assert.throws(() => readPkcs12(leaf.der, PASSWORD), NONE);
  });

  test("An error names the place in the configuration and what the file has or lacks", async () => {
    const rc2 = await exported("rc2.p12", "-legacy", "-certpbe", "PBE-SHA1-RC2-40");
    assert.throws(() => readPkcs12(rc2, PASSWORD), /is encrypted with RC2/);
    const keyless = await exported("keyless.p12", "-nokeys");
    assert.throws(() => readPkcs12(keyless, PASSWORD), /has no private key/);
    const source = { hosts: [], path: "keys[3]", pkcs12: rc2.toString("base64"), passphrase: PASSWORD };
    assert.throws(
      () => readKey(source),
      /Cannot use keys\[3\]: its PKCS#12 file is encrypted with RC2.*openssl pkcs12/,
    );
    assert.throws(
      () => readKey({ ...source, passphrase: "x" }),
      /keys\[3\]: its PKCS#12 file is encrypted with another passphrase/,
    );
  });

  test("readPkcs12() throws no error but ConfigError, whatever bytes are changed", async () => {
    const bytes = await exported("few.p12", "-iter", "1", "-maciter", "-nomac");
    const at = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255), fc.option(fc.nat(bytes.length)));
    fc.assert(
      fc.property(fc.array(at, { minLength: 1, maxLength: 4 }), (changes) => {
        let broken = Buffer.from(bytes);
        for (const [index, byte, cut] of changes) {
          if (index < broken.length) broken[index] = byte;
          if (cut !== null) broken = broken.subarray(0, cut);
        }
        try {
          readPkcs12(broken, PASSWORD);
        } catch (error) {
          assert.ok(error instanceof ConfigError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});
