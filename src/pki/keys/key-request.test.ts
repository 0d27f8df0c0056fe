import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../../../test/needs.ts";
import { emptyFolder, openssl } from "../x509/test-chain.ts";
import { makeSelfSigned, requestKey } from "./key-request.ts";
import { readKey } from "./key-source.ts";

const HOSTS = ["www.example.com", "*.example.com", "192.0.2.1", "2001:db8::1"];
const NAMES = "DNS:www.example.com, DNS:*.example.com, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1";

for (const keyType of ["ecdsa", "rsa", "ed25519"] as const) {
  test(
    `openssl verifies a request for an ${keyType} key, and its certificate belongs to the key`,
    needs("openssl"),
    async (t) => {
      const folder = emptyFolder(t);
      const { keyPem, requestPem } = await requestKey(HOSTS, keyType);
      writeFileSync(join(folder, "it.csr"), requestPem);
      const shown = openssl(folder, "req", "-in", "it.csr", "-verify", "-noout", "-text", "-subject");
      assert.match(shown, /verify OK/);
      assert.match(shown, /subject=CN = www\.example\.com/);
      assert.ok(shown.includes(NAMES), shown);
      openssl(
        folder,
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=ca",
      );
      const files = [
        "-in",
        "it.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-out",
        "it.pem",
        "-copy_extensions",
        "copy",
      ];
      openssl(folder, "x509", "-req", ...files, "-days", "9");
      const certificatePem = openssl(folder, "x509", "-in", "it.pem");
      const entry = readKey({ hosts: [], certificatePem, keyPem, path: "it" });
      assert.equal(entry.keyType, keyType);
      assert.deepEqual(entry.hosts, HOSTS);
    },
  );

  test(`openssl verifies a self-signed ${keyType} certificate of makeSelfSigned()`, needs("openssl"), async (t) => {
    const folder = emptyFolder(t);
    const [from, to] = [Date.now() - 3_600_000, Date.now() + 9 * 86_400_000];
    const { keyPem, certificatePem } = await makeSelfSigned(HOSTS, keyType, from, to);
    writeFileSync(join(folder, "it.pem"), certificatePem);
    assert.match(
      openssl(folder, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "it.pem", "it.pem"),
      /it\.pem: OK/,
    );
    assert.deepEqual(readKey({ hosts: [], certificatePem, keyPem, path: "it" }).hosts, HOSTS);
    assert.equal(Math.floor(new X509Certificate(certificatePem).validToDate.getTime() / 1000), Math.floor(to / 1000));
  });
}
