import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KeyType } from "../../src/vocabulary.ts";
import { tunnel } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { gnutlsServer, type Origin } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { run } from "../processes.ts";

/** GnuTLS's names of the versions: in priority strings, and on its server's page. */
const VERSIONS = {
  TLSv1: ["VERS-TLS1.0", "TLS1.0"],
  "TLSv1.1": ["VERS-TLS1.1", "TLS1.1"],
  "TLSv1.2": ["VERS-TLS1.2", "TLS1.2"],
  "TLSv1.3": ["VERS-TLS1.3", "TLS1.3"],
} as const;

describe("GnuTLS", needs("openssl", "gnutls-bin"), () => {
  let pki: Pki;
  let node: TestNode;
  const origins = new Map<string, Origin>();

  before(async () => {
    pki = await makePki();
    origins.set("rsa", await gnutlsServer(pki.server.rsa));
    origins.set("ecdsa", await gnutlsServer(pki.server.ecdsa));
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: Object.fromEntries([...origins].map(([name, { port }]) => [name, port])),
      config: {
        policy: { versions: { min: "TLSv1" } },
        keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.rsa }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    for (const { process } of origins.values()) await process.stop();
  });

  for (const [version, [priority, shown]] of Object.entries(VERSIONS)) {
    for (const keyType of ["rsa", "ecdsa"] as KeyType[]) {
      for (const way of ["explicit", "forward", "inbound"]) {
        test(`gnutls-cli reaches gnutls-serv with ${version} and an ${keyType} certificate, ${way}`, async () => {
          const name = `${version.replace(".", "").toLowerCase()}-${keyType}-${way}.${way === "inbound" ? "in." : ""}${DOMAIN}`;
          // gnutls-cli cannot use a proxy.
          await using path = way === "explicit" ? await tunnel(node.proxy, origins.get(keyType)!.port) : undefined;
          const port = path?.port ?? node.forward(keyType);
          const roots = way === "inbound" ? pki.root.certificate : node.primary;
          const { code, stdout, stderr } = await run(
            program("gnutls-bin"),
            [
              ...["--x509cafile", roots, "--port", String(port), "--sni-hostname", name, "--verify-hostname", name],
              ...["--priority", `NORMAL:-VERS-ALL:+${priority}`, "127.0.0.1"],
            ],
            { input: "GET / HTTP/1.0\r\n\r\n" },
          );
          assert.equal(code, 0, stdout + stderr);
          assert.match(stdout, /Status: The certificate is trusted/);
          assert.match(stdout, new RegExp(`Description: \\(${shown}`));
          assert.match(stdout, new RegExp(`Server Name: ${name}`));
          assert.match(stdout, new RegExp(`Protocol version:</TD><TD>${shown}<`));

          const session = await node.session(name);
          assert.equal(session.verdict, "decrypt");
          assert.equal(session.clientLeg.version, version);
          assert.equal(session.serverLeg.version, version);
          assert.equal(session.deployment, way === "inbound" ? "inbound" : "outbound");
          assert.equal(session.presented?.authority, way === "inbound" ? "inbound" : "primary");
        });
      }
    }
  }
});
