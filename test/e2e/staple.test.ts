import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { writeOcspResponse } from "../../src/pki/revocation/test-answers.ts";
import { dns, uri, type Written, write } from "../../src/pki/verify/test-cases/writing.ts";
import { encodeExtension } from "../../src/pki/x509/certificate-writing.ts";
import { encode, encodeInteger, encodeOid, TAG } from "../../src/pki/x509/der.ts";
import { OID } from "../../src/pki/x509/oid.ts";
import { opensslClient } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, saveIdentity } from "../pki.ts";
import { freePort, run, until } from "../processes.ts";

const root = write({ ca: true, subject: "Root" });
const MUST_STAPLE = encodeExtension(OID.tlsFeature, false, encode(TAG.sequence, encodeInteger(Buffer.from([5]))));
const leaf = (name: string, ...extensions: readonly Buffer[]) =>
  write({ issuer: root, names: [dns(name)], extensions: [MUST_STAPLE, ...extensions] });

/** A response that says that the certificate is good. */
function good({ der }: Written): Buffer {
  const issuer = new X509Certificate(root.der);
  const times = { thisUpdate: Date.now() - 60_000, nextUpdate: Date.now() + 86_400_000 };
  const signer = { certificate: issuer, key: root.key };
  return writeOcspResponse({ certificate: new X509Certificate(der), issuer, signer, ...times });
}

describe("A client that asks for the status of the certificate", needs("openssl", "gnutls-bin"), () => {
  const [stapling, silent] = ["localhost", `silent.${DOMAIN}`];
  let node: TestNode;
  let rootFile: string;
  const origins: Origin[] = [];
  const responder = createServer((_, answer) => void answer.end(asked.length > 0 ? asked[0] : undefined));
  const asked: Buffer[] = [];

  before(async () => {
    const pki = await makePki();
    rootFile = saveIdentity(pki, "written-root", [root]).certificate;
    responder.listen(0, "127.0.0.1");
    await once(responder, "listening");
    const { port } = responder.address() as AddressInfo;
    const place = encode(TAG.sequence, encodeOid(OID.ocsp), uri(`http://127.0.0.1:${port}/`));
    const named = encodeExtension(OID.authorityInformationAccess, false, encode(TAG.sequence, place));
    const [first, second] = [leaf(stapling), leaf(silent, named)];
    asked.push(good(second));
    writeFileSync(join(pki.folder, "staple.der"), good(first));

    const [one, two] = [saveIdentity(pki, "stapling", [first]), saveIdentity(pki, "silent", [second])];
    origins.push(await opensslServer(one, { more: ["-status_file", join(pki.folder, "staple.der")] }));
    origins.push(await opensslServer(two), await opensslServer(pki.server.ecdsa));
    const status = await freePort();
    const [stapler, other, any] = origins.map((origin) => origin.port);
    node = await startNode({
      trust: [rootFile, pki.root.certificate],
      forwards: { stapling: stapler!, silent: other!, any: any! },
      config: {
        keys: [
          { hosts: [stapling], ...one },
          { hosts: [silent], ...two },
        ],
        policy: { revocation: { loopback: true } },
        signing: { status: { address: `127.0.0.1:${status}`, url: `http://127.0.0.1:${status}/` } },
      },
    });
  });
  after(async () => {
    await node?.stop();
    responder.close();
    for (const { process } of origins) await process.stop();
  });

  test("gets what the server stapled, of a certificate that the node holds", async () => {
    const port = `${node.forward("stapling")}`;
    const args = ["--x509cafile", rootFile, "-p", port, "localhost"];
    const { code, stdout, stderr } = await run(program("gnutls-bin"), args, { input: "", within: 30_000 });
    assert.equal(code, 0, stdout + stderr);
  });

  test("gets what the responder says, when the server staples nothing", async () => {
    const way = { port: node.forward("silent") };
    const { stdout } = await opensslClient({ way, name: silent, roots: rootFile, more: ["-status"] });
    assert.match(stdout, /OCSP Response Status: successful/);
    assert.match(stdout, /Cert Status: good/);
  });

  for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`gets the answer of the node's CA about an issued certificate, ${version}`, async () => {
      const name = `any-${version}.${DOMAIN}`.toLowerCase().replace("1.", "1-");
      const way = { port: node.forward("any") };
      const { code, stdout, stderr } = await opensslClient({
        way,
        name,
        roots: node.primary,
        version,
        more: ["-status"],
      });
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /OCSP Response Status: successful/);
      assert.match(stdout, /Cert Status: good/);
      await until("the session", async () => (await node.session(name)).verdict === "decrypt");
    });
  }

  test("may ask the responder that an issued certificate names", async () => {
    const way = { port: node.forward("any") };
    const { stdout } = await opensslClient({ way, name: `asks.${DOMAIN}`, roots: node.primary });
    const [pem = ""] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout) ?? [];
    const issued = join(dirname(rootFile), "issued.pem");
    writeFileSync(issued, pem);
    const { infoAccess = "" } = new X509Certificate(pem);
    const [, url = ""] = /OCSP - URI:(\S+)/.exec(infoAccess) ?? [];
    const about = ["-issuer", node.primary, "-cert", issued, "-CAfile", node.primary, "-url", url];
    const said = await run(program("openssl"), ["ocsp", ...about], { within: 30_000 });
    assert.match(said.stderr, /Response verify OK/);
    assert.match(said.stdout, /issued\.pem: good/);
  });

  test("and one that does not ask gets none", async () => {
    const way = { port: node.forward("any") };
    // OpenSSL's client refuses a response that it has not asked for.
    const { code, stdout, stderr } = await opensslClient({ way, name: `plain.${DOMAIN}`, roots: node.primary });
    assert.equal(code, 0, stdout + stderr);
  });
});
