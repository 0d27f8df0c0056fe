import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import type net from "node:net";
import { createServer } from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { diffieHellmanGroup } from "../../src/engine/test-groups.ts";
import { curl, opensslClient } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { run, until } from "../processes.ts";

/** What a peer may have the node compute. */
describe("What a handshake may cost", needs("openssl", "gnutls-bin"), () => {
  let node: TestNode;
  const servers: tls.Server[] = [];

  before(async () => {
    const pki = await makePki();
    const identity = { cert: readFileSync(pki.server.rsa.certificate), key: readFileSync(pki.server.rsa.key) };
    const serve = async (options: tls.TlsOptions, stays = false) => {
      const server = tls.createServer({ ...identity, ...options }, (socket) => {
        socket.on("error", () => undefined).resume();
        if (!stays) socket.end("hello");
      });
      server.on("tlsClientError", () => undefined);
      await once(server.listen(0, "127.0.0.1"), "listening");
      servers.push(server);
      return (server.address() as net.AddressInfo).port;
    };
    const old = { ciphers: "DHE-RSA-AES128-SHA:@SECLEVEL=0", minVersion: "TLSv1", maxVersion: "TLSv1.2" } as const;
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: {
        large: await serve({ ...old, dhparam: diffieHellmanGroup(10_000) }),
        medium: await serve({ ...old, dhparam: diffieHellmanGroup(4_096) }),
        modern: await serve({ ecdhCurve: "ffdhe8192:ffdhe4096", minVersion: "TLSv1.3" }),
        largest: await serve({ ecdhCurve: "ffdhe8192", minVersion: "TLSv1.3" }),
        silent: await serve({}, true),
      },
      config: { policy: { versions: { min: "TLSv1" }, undecryptable: "drop" }, timeouts: { drain: "1s" } },
    });
  });
  after(async () => {
    await node?.stop();
    for (const server of servers) server.close();
  });

  const ask = (listener: string, name: string, more: readonly string[]) =>
    opensslClient({ way: { port: node.forward(listener) }, name, roots: node.primary, more });

  for (const [at, version] of (["TLSv1", "TLSv1.1", "TLSv1.2"] as const).entries()) {
    const flag = `-${version.toLowerCase().replace("v", "").replace(".", "_")}`;
    const more = [flag, "-cipher", "DHE:@SECLEVEL=0"];

    test(`A server's Diffie-Hellman group of 10,000 bits is refused with an alert, ${version}`, async () => {
      const name = `large-${at}.${DOMAIN}`;
      const { code, stderr } = await ask("large", name, more);
      assert.notEqual(code, 0);
      assert.match(stderr, /insufficient security/);
      const { closeReason } = await node.session(name);
      assert.equal(
        closeReason,
        "The handshake with the server failed: its Diffie-Hellman group has 10000 bits, above 4096",
      );
    });

    test(`One of 4,096 bits is decrypted, ${version}`, async () => {
      const name = `medium-${at}.${DOMAIN}`;
      const { code, stderr } = await ask("medium", name, more);
      assert.equal(code, 0, stderr);
      assert.equal((await node.session(name)).verdict, "decrypt");
    });
  }

  test("Of a client's groups over integers in TLS 1.3 those within the bound are used", async () => {
    const name = `modern.${DOMAIN}`;
    const { code, stderr } = await ask("modern", name, ["-groups", "ffdhe8192:ffdhe4096"]);
    assert.equal(code, 0, stderr);
    const { clientLeg, serverLeg } = await node.session(name);
    assert.deepEqual([clientLeg.group, serverLeg.group], ["ffdhe4096", "ffdhe4096"]);
  });

  test("A client that has no smaller one is one whose TLS cannot be decrypted", async () => {
    const name = `largest.${DOMAIN}`;
    const { code, stderr } = await ask("largest", name, ["-tls1_3", "-groups", "ffdhe8192"]);
    assert.notEqual(code, 0);
    assert.match(stderr, /alert/);
    assert.match((await node.session(name)).reason ?? "", /no group that this node may use/);
  });

  const floods = [
    ["KeyUpdates", "^rekey^", "TLS1.3"],
    ["attempts at renegotiation", "^renegotiate^", "TLS1.2"],
  ] as const;
  for (const [what, command, version] of floods) {
    test(`A client's ${what} without end are not answered`, async () => {
      const name = `${command.replaceAll("^", "")}.${DOMAIN}`;
      const priority = `NORMAL:-VERS-ALL:+VERS-${version}`;
      const how = ["--inline-commands", "--insecure", "--sni-hostname", name, "--priority", priority];
      await run(program("gnutls-bin"), [...how, "-p", String(node.forward("silent")), "127.0.0.1"], {
        input: `${command}\n`.repeat(400),
        within: 30_000,
      });
      const { closeReason } = await node.session(name);
      assert.match(closeReason ?? "", /TOO_MANY_HANDSHAKE_MESSAGES/);
    });
  }
});

test(
  "A client with many handshakes under way waits for its own, and keeps nobody else waiting",
  needs("openssl", "curl"),
  async () => {
    const pki = await makePki();
    const held: net.Socket[] = [];
    const silent = createServer((socket) => held.push(socket.on("error", () => undefined)));
    await once(silent.listen(0, "127.0.0.1"), "listening");
    const { ecdsa } = pki.server;
    const good = createHttps({ cert: readFileSync(ecdsa.certificate), key: readFileSync(ecdsa.key) }, (_, answer) => {
      answer.end("served");
    });
    await once(good.listen(0, "127.0.0.1"), "listening");
    const portOf = (server: net.Server) => (server.address() as net.AddressInfo).port;
    await using node = await startNode({
      trust: [pki.root.certificate],
      forwards: { silent: portOf(silent), good: portOf(good) },
      config: { workers: 1, limits: { perClient: { handshakes: 2 } }, timeouts: { handshake: "30s", drain: "100ms" } },
    });
    const ask = (listener: string, from: string, name: string) =>
      curl({ port: node.forward(listener) }, node.primary, ["--interface", from, `https://${name}.${DOMAIN}/`]);

    const stuck = [1, 2].map((at) => ask("silent", "127.0.0.1", `stuck-${at}`));
    await until("two handshakes under way", () => held.length === 2);
    let isServed = false;
    const waiting = ask("good", "127.0.0.1", "waiting").then((outcome) => {
      isServed = true;
      return outcome;
    });
    await until("the third session", async () => (await node.sessions({ host: `waiting.${DOMAIN}` })).length === 1);
    const other = await ask("good", "127.0.0.2", "other");
    assert.equal(other.stdout, "served", other.stderr);
    assert.equal(isServed, false);

    for (const socket of held) socket.destroy();
    assert.equal((await waiting).stdout, "served");
    for (const one of stuck) assert.notEqual((await one).code, 0);
    await node.stop();
    silent.close();
    good.close();
  },
);
