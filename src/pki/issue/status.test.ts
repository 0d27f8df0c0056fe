import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { needs } from "../../../test/needs.ts";
import { judgeOcspResponse } from "../revocation/ocsp.ts";
import { emptyFolder, make, openssl } from "../x509/test-chain.ts";
import { openAuthorities } from "./authority.ts";
import { createMint } from "./mint.ts";

test(
  "The answer for an issued certificate satisfies OpenSSL and the node's own reader",
  needs("openssl"),
  async (t) => {
    const folder = emptyFolder(t);
    const now = Date.now();
    const authorities = await openAuthorities(join(folder, "ca"), {}, now);
    const mint = createMint(authorities, { rsaPoolSize: 1 }, now);
    const { der } = await make({ names: [["dns", "www.example.com"]] });
    for (const keyType of ["ecdsa", "rsa"] as const) {
      const { certificatePem, ocsp = "" } = await mint.issue({ certificate: der, authority: "primary", keyType }, now);
      const response = Buffer.from(ocsp, "base64");
      const ca = authorities.find("primary", keyType);
      const subject = { certificate: new X509Certificate(certificatePem), issuer: ca.certificate };
      const { status, nextUpdate } = await judgeOcspResponse(response, subject, now);
      assert.deepEqual([status, nextUpdate! > now + 86_400_000], ["good", true]);

      for (const [name, bytes] of Object.entries({
        "ca.pem": ca.certificatePem,
        "leaf.pem": certificatePem,
        response,
      })) {
        writeFileSync(join(folder, name), bytes);
      }
      const about = ["-issuer", "ca.pem", "-cert", "leaf.pem", "-CAfile", "ca.pem"];
      const said = openssl(folder, "ocsp", "-respin", "response", ...about);
      assert.match(said, /Response verify OK/);
      assert.match(said, /leaf\.pem: good/);
    }
  },
);
