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

  before(async () => {
    pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    node = await startNode({ trust: [pki.root.certificate], forwards: { web: origin.port } });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
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
    test(`100 clients that come at once for the first time are shown one certificate, ${way}`, async () => {
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

  test("The certificate follows what the client can verify, and mirrors the server's", async () => {
    const ca = readFileSync(node.primary, "utf8").split(/(?<=END CERTIFICATE-----\n)/);
    const shown: tls.DetailedPeerCertificate[] = [];
    for (const sigalgs of ["rsa_pss_rsae_sha256", "ecdsa_secp256r1_sha256"]) {
      const socket = tls.connect({
        port: node.forward("web"),
        host: "127.0.0.1",
        servername: `key.${DOMAIN}`,
        ca,
        sigalgs,
      });
      const failure = once(socket, "error").then(([error]) => error as Error);
      const outcome = await Promise.race([once(socket, "secureConnect"), failure]);
      // The server has an ECDSA key: a client that cannot verify ECDSA gets nowhere with it, node or no node.
      if (sigalgs.startsWith("rsa")) {
        assert.ok(outcome instanceof Error);
        continue;
      }
      shown.push(socket.getPeerCertificate(true));
      socket.destroy();
    }
    const [certificate] = shown;
    assert.equal(certificate?.asn1Curve, "prime256v1");
    assert.equal(certificate?.subject.CN, `ecdsa.${DOMAIN}`);
    assert.match(certificate?.subjectaltname ?? "", new RegExp(`DNS:\\*\\.${DOMAIN}, .*IP Address:127\\.0\\.0\\.1`));
    const original = new Date("2045-01-01T00:00:00Z").getTime();
    assert.ok(new Date(certificate?.valid_to ?? 0).getTime() <= original);
  });
});
