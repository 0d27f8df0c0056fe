import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { needs, program } from "../../../test/needs.ts";
import { freePort, run } from "../../../test/processes.ts";
import { toPem } from "../x509/pem.ts";
import { emptyFolder, make, openssl } from "../x509/test-chain.ts";
import { openAuthorities } from "./authority.ts";
import { createMint } from "./mint.ts";
import { openStatusServer } from "./status-server.ts";

/** A CA with its server, and a certificate that it issued. */
async function begin(context: TestContext, keyType: "ecdsa" | "rsa") {
  const folder = emptyFolder(context);
  const now = Date.now();
  const authorities = await openAuthorities(join(folder, "ca"), {}, now);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = await openStatusServer(authorities, { host: "127.0.0.1", port });
  context.after(() => server.close());
  const mint = createMint(authorities, { rsaPoolSize: 1, statusUrl: url }, now);
  const { der } = await make({ names: [["dns", "www.example.com"]] });
  const { certificatePem } = await mint.issue({ certificate: der, authority: "primary", keyType }, now);
  writeFileSync(join(folder, "leaf.pem"), certificatePem);
  writeFileSync(join(folder, "ca.pem"), authorities.find("primary", keyType).certificatePem);
  const extensions = openssl(folder, "x509", "-in", "leaf.pem", "-noout", "-text");
  const list = /URI:(http\S+\.crl)/.exec(extensions)?.[1] ?? "";
  return { folder, url, extensions, list, der };
}

for (const keyType of ["ecdsa", "rsa"] as const) {
  test(`openssl asks the responder and takes the list, ${keyType}`, needs("openssl"), async (context) => {
    const { folder, url, extensions, list } = await begin(context, keyType);
    assert.match(extensions, new RegExp(`OCSP - URI:${url}/ocsp`));
    const about = ["-issuer", "ca.pem", "-cert", "leaf.pem", "-CAfile", "ca.pem"];
    const { stdout, stderr } = await run(program("openssl"), ["ocsp", "-url", `${url}/ocsp`, ...about], {
      cwd: folder,
    });
    assert.match(stderr, /Response verify OK/);
    assert.match(stdout, /leaf\.pem: good/);

    const bytes = Buffer.from(await (await fetch(list)).arrayBuffer());
    writeFileSync(join(folder, "list.pem"), toPem(bytes, "X509 CRL"));
    const checks = ["-crl_check", "-CRLfile", "list.pem", "-CAfile", "ca.pem"];
    assert.match(openssl(folder, "verify", ...checks, "leaf.pem"), /leaf\.pem: OK/);
  });
}

test(
  "Requests that are none, or about other CAs, get what RFC 6960 has for them",
  needs("openssl"),
  async (context) => {
    const { folder, url, der } = await begin(context, "ecdsa");
    const post = async (body: Uint8Array) => {
      const answer = await fetch(`${url}/ocsp`, { method: "POST", body: Buffer.from(body) });
      return Buffer.from(await answer.arrayBuffer()).toString("hex");
    };
    assert.equal(await post(Buffer.from("nonsense")), "30030a0101");
    assert.equal(await post(Buffer.alloc(5000)), "30030a0101");
    writeFileSync(join(folder, "other.pem"), toPem(der));
    openssl(folder, "ocsp", "-issuer", "other.pem", "-cert", "leaf.pem", "-reqout", "request", "-no_nonce");
    assert.equal(await post(readFileSync(join(folder, "request"))), "30030a0106");
    for (const path of ["", "x", "ocsp", "../ca.key", "0000000000000000.crl"]) {
      assert.equal((await fetch(`${url}/${path}`)).status, 404, path);
    }
  },
);
