import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../../../test/needs.ts";
import { NetworkError } from "../../errors.ts";
import { createRevocationCache } from "../revocation/revocation-cache.ts";
import { encodeExtension } from "../x509/certificate-writing.ts";
import { encode, encodeInteger, encodeOid, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { emptyFolder, openssl } from "../x509/test-chain.ts";
import { createIssuerFetch, readIssuers } from "./issuer-fetch.ts";
import { uri, type Written, write } from "./test-cases/writing.ts";

const ROOT = write({ ca: true, subject: "Root" });
const MIDDLE = write({ issuer: ROOT, ca: true, subject: "Middle" });

/** A server's certificate whose issuer's are at these URLs. */
function leafAt(...urls: readonly string[]): X509Certificate {
  const places = urls.map((url) => encode(TAG.sequence, encodeOid(OID.caIssuers), uri(url)));
  const access = encodeExtension(OID.authorityInformationAccess, false, encode(TAG.sequence, ...places));
  return new X509Certificate(write({ issuer: MIDDLE, extensions: [access] }).der);
}

/** A fetcher whose downloads are these; undefined: nobody answers. */
function begin(files: Readonly<Record<string, Buffer>>) {
  const asked: string[] = [];
  const fetch = async (url: string) => {
    asked.push(url);
    const found = files[url];
    if (!found) throw new NetworkError("It did not answer in time", "ETIMEDOUT");
    return found;
  };
  const issuers = createIssuerFetch({ cache: createRevocationCache(10), fetch, clock: Date.now });
  return { asked, issuers: (leaf: X509Certificate) => issuers(leaf, performance.now() + 1_000) };
}

const pemOf = ({ der }: Written) => new X509Certificate(der).toString();

test("An issuer is fetched once, from the first URL that has it", async () => {
  const { asked, issuers } = begin({ "http://b.example/ca.crt": MIDDLE.der });
  const leaf = leafAt(
    "ldap://a.example/ca",
    "https://a.example/ca.crt",
    "http://a.example/ca.crt",
    "http://b.example/ca.crt",
  );
  for (let time = 0; time < 3; time += 1) assert.deepEqual(await issuers(leaf), [MIDDLE.der]);
  assert.deepEqual(asked, ["http://a.example/ca.crt", "http://b.example/ca.crt"]);
});

test("Without a URL, or with nothing there, there is none", async () => {
  assert.deepEqual(await begin({}).issuers(leafAt()), []);
  assert.deepEqual(await begin({}).issuers(leafAt("http://a.example/")), []);
  assert.deepEqual(
    await begin({ "http://a.example/": Buffer.from("<html>") }).issuers(leafAt("http://a.example/")),
    [],
  );
});

test("DER, PEM and a CMS bundle are read, and nothing else", needs("openssl"), (context) => {
  const folder = emptyFolder(context);
  writeFileSync(join(folder, "all.pem"), pemOf(MIDDLE) + pemOf(ROOT));
  openssl(folder, "crl2pkcs7", "-nocrl", "-certfile", "all.pem", "-outform", "DER", "-out", "all.p7c");
  const bundle = readFileSync(join(folder, "all.p7c"));
  assert.deepEqual(readIssuers(MIDDLE.der), [MIDDLE.der]);
  assert.deepEqual(readIssuers(Buffer.from(pemOf(MIDDLE) + pemOf(ROOT))), [MIDDLE.der, ROOT.der]);
  assert.deepEqual(readIssuers(bundle), [MIDDLE.der, ROOT.der]);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from("3000", "hex"),
    bundle.subarray(0, 90),
    encodeInteger(Buffer.from([1])),
  ]) {
    assert.deepEqual(readIssuers(bytes), []);
  }
});

test("Of a bundle without end, some are read", () => {
  const pem = pemOf(MIDDLE);
  assert.equal(readIssuers(Buffer.from(pem.repeat(50))).length, 8);
});
