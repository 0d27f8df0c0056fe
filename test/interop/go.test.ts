import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { buildGoPeer, goServer, type Origin } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { must } from "../processes.ts";

describe("Go's crypto/tls", needs("openssl", "golang-go"), () => {
  let pki: Pki;
  let node: TestNode;
  let origin: Origin;
  let binary: string;

  before(async () => {
    [pki, binary] = await Promise.all([makePki(), buildGoPeer()]);
    origin = await goServer(binary, pki.server.ecdsa);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        policy: { versions: { min: "TLSv1" } },
        keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.ecdsa }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  for (const version of ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]) {
    for (const way of ["explicit", "forward", "inbound"]) {
      test(`A Go client reaches a Go server with ${version}, ${way}`, async () => {
        const name = `${version.replace(".", "").toLowerCase()}-${way}.${way === "inbound" ? "in." : ""}${DOMAIN}`;
        const roots = way === "inbound" ? pki.root.certificate : node.primary;
        const to =
          way === "explicit"
            ? [`localhost:${origin.port}`, name, roots, version, `127.0.0.1:${node.proxy}`]
            : [`127.0.0.1:${node.forward("web")}`, name, roots, version];
        const { client, server } = JSON.parse(await must(binary, ["get", ...to]));
        const seen = JSON.parse(server);
        // RFC 9113, section 9.2: HTTP/2 needs TLS 1.2.
        const isNew = version === "TLSv1.2" || version === "TLSv1.3";
        const protocol = isNew ? "HTTP/2.0" : "HTTP/1.1";
        assert.equal(client.echoed, true);
        assert.deepEqual({ version: client.version, protocol: client.protocol }, { version, protocol });
        assert.deepEqual(
          { version: seen.version, protocol: seen.protocol, name: seen.name },
          { version, protocol, name },
        );
        if (way === "inbound") assert.equal(client.issuer, "Test Root");
        else assert.match(client.issuer, /Primary/);

        const session = await node.session(name);
        assert.equal(session.verdict, "decrypt");
        assert.deepEqual(
          [session.clientLeg.version, session.clientLeg.suite, session.clientLeg.alpn],
          [version, client.suite, isNew ? "h2" : null],
        );
        assert.deepEqual(
          [session.serverLeg.version, session.serverLeg.suite, session.serverLeg.alpn],
          [version, seen.suite, isNew ? "h2" : null],
        );
        assert.equal(session.deployment, way === "inbound" ? "inbound" : "outbound");
      });
    }
  }
});
