import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { connectThrough } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";

const CLIENTS = 100;

describe("Minting", needs("openssl", "nginx-light"), () => {
  let pki: Pki;
  let node: TestNode;
  let origin: Nginx;
  let rsa: Nginx;

  before(async () => {
    pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    rsa = await nginx(pki.server.rsa);
    node = await startNode({ trust: [pki.root.certificate], forwards: { web: origin.port, rsa: rsa.port } });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
    await rsa?.process.stop();
  });

  async function certificateSeen(servername: string, ca: string, way: "explicit" | "forward"): Promise<string> {
    const below =
      way === "explicit"
        ? { socket: (await connectThrough(node.proxy, `127.0.0.1:${origin.port}`)).socket }
        : { port: node.forward("web"), host: "127.0.0.1" };
    const socket = tls.connect({ ...below, servername, ca: ca.split(/(?<=END CERTIFICATE-----\n)/) });
    await once(socket, "secureConnect");
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.end();
    socket.resume();
    await once(socket, "close");
    return fingerprint256;
  }

  for (const way of ["explicit", "forward"] as const) {
    test(`100 clients that connect at once get the same new certificate, ${way}`, async () => {
      const ca = readFileSync(node.primary, "utf8");
      const earlier = (await node.stats()).mint.minted;
      const host = `crowd-${way}.${DOMAIN}`;
      const seen = await Promise.all(Array.from({ length: CLIENTS }, () => certificateSeen(host, ca, way)));
      const minted = (await node.stats()).mint.minted - earlier;
      assert.equal(new Set(seen).size, 1);
      assert.ok(minted <= 1, `minted ${minted} times`);

      assert.equal(await certificateSeen(host, ca, way), seen[0]);
      assert.equal((await node.stats()).mint.minted - earlier, minted);
    });
  }

  for (const [sigalgs, keyType] of [
    ["rsa_pss_rsae_sha256", "rsa"],
    ["rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "ecdsa"],
  ] as const) {
    test(`A client that verifies ${sigalgs} gets a copy of the server's certificate with an ${keyType} key`, async () => {
      const ca = readFileSync(node.primary, "utf8").split(/(?<=END CERTIFICATE-----\n)/);
      const way = { port: node.forward("rsa"), host: "127.0.0.1", servername: `${keyType}-key.${DOMAIN}` };
      const socket = tls.connect({ ...way, ca, sigalgs });
      await once(socket, "secureConnect");
      const shown = socket.getPeerCertificate(true);
      socket.destroy();
      assert.equal(shown.asn1Curve, keyType === "ecdsa" ? "prime256v1" : undefined);
      assert.equal(shown.bits, keyType === "rsa" ? 2048 : 256);
      assert.equal(shown.subject.CN, `rsa.${DOMAIN}`);
      assert.match(shown.subjectaltname ?? "", new RegExp(`DNS:\\*\\.${DOMAIN}, .*IP Address:127\\.0\\.0\\.1`));
      assert.ok(Date.parse(shown.valid_from) >= Date.parse("2025-01-01T00:00:00Z"));
      assert.ok(Date.parse(shown.valid_to) <= Date.parse("2045-01-01T00:00:00Z"));
      const session = await node.session(`${keyType}-key.${DOMAIN}`);
      assert.equal(session.presented?.sha256, shown.fingerprint256.replaceAll(":", "").toLowerCase());
      assert.equal(session.presented?.serial.toLowerCase(), shown.serialNumber.toLowerCase());
    });
  }
});
