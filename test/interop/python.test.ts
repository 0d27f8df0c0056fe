import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, pythonServer, source } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { must } from "../processes.ts";

describe("Python's ssl", needs("openssl", "python3"), () => {
  let pki: Pki;
  let node: TestNode;
  let origin: Origin;

  before(async () => {
    pki = await makePki();
    origin = await pythonServer(pki.server.rsa);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        policy: { versions: { min: "TLSv1" } },
        keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.rsa }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  for (const version of ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]) {
    for (const way of ["explicit", "forward", "inbound"]) {
      test(`A Python client reaches a Python server with ${version}, ${way}`, async () => {
        const name = `${version.replace(".", "").toLowerCase()}-${way}.${way === "inbound" ? "in." : ""}${DOMAIN}`;
        const roots = way === "inbound" ? pki.root.certificate : node.primary;
        const to =
          way === "explicit"
            ? [`localhost:${origin.port}`, name, roots, version, `127.0.0.1:${node.proxy}`]
            : [`127.0.0.1:${node.forward("web")}`, name, roots, version];
        const { client, server } = JSON.parse(await must(program("python3"), [source("peer.py"), "get", ...to]));
        const seen = JSON.parse(server);
        assert.equal(client.echoed, true);
        assert.equal(client.version, version);
        assert.deepEqual({ version: seen.version, name: seen.name }, { version, name });
        if (way === "inbound") assert.equal(client.issuer, "Test Root");
        else assert.match(client.issuer, /Primary/);

        const session = await node.session(name);
        assert.equal(session.verdict, "decrypt");
        assert.equal(session.clientLeg.version, version);
        assert.equal(session.serverLeg.version, version);
        assert.equal(session.connectHost, way === "explicit" ? "localhost" : null);
        assert.equal(session.deployment, way === "inbound" ? "inbound" : "outbound");
        // 1 MiB and a little each way.
        assert.ok(session.clientLeg.sent > 1 << 20);
        assert.ok(session.serverLeg.sent > 1 << 20);
      });
    }
  }
});
