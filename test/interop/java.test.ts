import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { KeyType } from "../../src/vocabulary.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { buildJavaPeer, type JavaClient, javaClient, javaServers, type Origin } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";

const VERSIONS = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
const LINE = /^client (\S+) (\S+) echoed=(\w+) ended=(\w+) server (\S+) (\S+) (\S+) issuer (.*)$/;

describe("OpenJDK's JSSE", needs("openssl", "openjdk-17-jdk-headless"), () => {
  let pki: Pki;
  let node: TestNode;
  let client: JavaClient;
  let origins: Readonly<Record<KeyType, Origin>>;

  before(async () => {
    let classes: string;
    [pki, classes] = await Promise.all([makePki(), buildJavaPeer()]);
    client = javaClient(classes, "Peer");
    origins = await javaServers(classes, pki.server);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { rsa: origins.rsa.port, ecdsa: origins.ecdsa.port },
      config: {
        policy: { versions: { min: "TLSv1" } },
        keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.rsa }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await origins?.rsa.process.stop();
    await client?.process.stop();
  });

  for (const keyType of ["rsa", "ecdsa"] as KeyType[]) {
    for (const way of ["explicit", "forward", "inbound"]) {
      test(`A Java client reaches a Java server with an ${keyType} certificate and every version, ${way}`, async () => {
        const names = VERSIONS.map(
          (version) =>
            `${version.replace(".", "").toLowerCase()}-${keyType}-${way}.${way === "inbound" ? "in." : ""}${DOMAIN}`,
        );
        const to = way === "explicit" ? `localhost:${origins[keyType].port}` : `127.0.0.1:${node.forward(keyType)}`;
        const proxy = way === "explicit" ? `127.0.0.1:${node.proxy}` : "-";
        const cases = VERSIONS.map((version, at) => `${to},${names[at]},${version},${proxy}`);
        const roots = way === "inbound" ? pki.root.certificate : node.primary;
        const lines = await client.get(roots, cases);

        for (const [at, line] of lines.entries()) {
          const [, version, clientSuite, echoed, ended, serverVersion, serverSuite, shown, issuer] =
            LINE.exec(line) ?? [];
          assert.deepEqual([version, serverVersion, echoed, ended], [VERSIONS[at], VERSIONS[at], "true", "true"], line);
          assert.equal(shown, names[at]);
          assert.match(issuer ?? "", way === "inbound" ? /Test Root/ : /Primary/);

          const session = await node.session(names[at]!);
          assert.equal(session.verdict, "decrypt");
          assert.deepEqual([session.clientLeg.version, session.clientLeg.suite], [version, clientSuite]);
          assert.deepEqual([session.serverLeg.version, session.serverLeg.suite], [serverVersion, serverSuite]);
          assert.equal(session.deployment, way === "inbound" ? "inbound" : "outbound");
        }
        assert.equal(lines.length, VERSIONS.length);
      });
    }
  }
});
