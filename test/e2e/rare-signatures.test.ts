import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { connect, createServer, type Server, type TLSSocket } from "node:tls";
import { dns, type Wanted, write } from "../../src/pki/verify/test-cases/writing.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, saveIdentity } from "../pki.ts";

type Keys = Wanted["keys"];
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const pss = { modulusLength: 2048, hashAlgorithm: "sha384", mgf1HashAlgorithm: "sha384" };

/** What the client verifies alone, the server's keys, and the key of the certificate that the client gets. */
const CASES: readonly (readonly [sigalgs: string, version: "TLSv1.2" | "TLSv1.3", keys: Keys, keyType: string])[] = [
  ["ecdsa_secp384r1_sha384", "TLSv1.3", ec("P-384"), "ecdsa-p384"],
  ["ecdsa_secp384r1_sha384", "TLSv1.2", ec("P-384"), "ecdsa-p384"],
  ["ecdsa_secp521r1_sha512", "TLSv1.3", ec("P-521"), "ecdsa-p521"],
  ["ed25519", "TLSv1.3", generateKeyPairSync("ed25519"), "ed25519"],
  ["ed25519", "TLSv1.2", generateKeyPairSync("ed25519"), "ed25519"],
  ["ed448", "TLSv1.3", generateKeyPairSync("ed448"), "ed448"],
  ["ecdsa_brainpoolP256r1tls13_sha256", "TLSv1.3", ec("brainpoolP256r1"), "ecdsa-brainpool256"],
  ["rsa_pss_pss_sha384", "TLSv1.3", generateKeyPairSync("rsa-pss", pss), "rsa-pss-sha384"],
  ["mldsa44", "TLSv1.3", generateKeyPairSync("ml-dsa-44"), "ml-dsa-44"],
  ["mldsa65", "TLSv1.3", generateKeyPairSync("ml-dsa-65"), "ml-dsa-65"],
  ["mldsa87", "TLSv1.3", generateKeyPairSync("ml-dsa-87"), "ml-dsa-87"],
  ["rsa_pss_rsae_sha384", "TLSv1.3", generateKeyPairSync("rsa", { modulusLength: 2048 }), "rsa"],
];
const nameOf = (sigalgs: string, version: string) =>
  `${sigalgs}-${version}`.replaceAll(/[^a-z0-9]/gi, "-").toLowerCase();
const root = write({ ca: true, subject: "Root" });

describe("A client that verifies neither ECDSA P-256 nor RSA", needs("openssl"), () => {
  let node: TestNode;
  const servers: Server[] = [];

  before(async () => {
    const pki = await makePki();
    const forwards: Record<string, number> = {};
    for (const [sigalgs, version, keys] of CASES) {
      const name = nameOf(sigalgs, version);
      const leaf = write({ issuer: root, names: [dns(`${name}.${DOMAIN}`)], ...(keys && { keys }) });
      const { certificate, key } = saveIdentity(pki, name, [leaf]);
      const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (socket) =>
        socket.end(),
      );
      server.on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
      await once(server, "listening");
      servers.push(server);
      forwards[name] = (server.address() as AddressInfo).port;
    }
    node = await startNode({ trust: [saveIdentity(pki, "root", [root]).certificate], forwards });
  });
  after(async () => {
    await node?.stop();
    for (const server of servers) server.close();
  });

  for (const [sigalgs, version, , keyType] of CASES) {
    test(`gets a certificate that it verifies: ${sigalgs}, ${version}`, async () => {
      const servername = `${nameOf(sigalgs, version)}.${DOMAIN}`;
      const socket = connect({
        ...{ host: "127.0.0.1", port: node.forward(nameOf(sigalgs, version)), servername },
        ...{ sigalgs, minVersion: version, maxVersion: version },
        // Node 26.10 crashes when it compares names in a verified certificate with a brainpool key.
        ...(sigalgs.includes("brainpool") ? { rejectUnauthorized: false } : { ca: readFileSync(node.primary) }),
      });
      await closed(socket);
      const { presented, verdict } = await node.session(servername);
      assert.deepEqual([verdict, presented?.authority, presented?.keyType], ["decrypt", "primary", keyType]);
    });
  }
});

/** Rejects when the client does not take the certificate. */
function closed(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once("error", reject).once("secureConnect", () => {
      socket.destroy();
      resolve();
    });
  });
}
