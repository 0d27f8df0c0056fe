import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { fatalAlert } from "../../src/wire/alert.ts";
import { u16, u16s, vector8, vector16 } from "../../src/wire/writer.ts";
import { curl, nextChunk, opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { helloMessage, inRecords, serverNames } from "../recorded/client-hello/build.ts";

/** A server that answers every odd connection with a fatal alert in plaintext, and speaks TLS on the even ones. */
interface OptingOut {
  readonly port: number;
  connections: number;
  close(): void;
}

async function optingOut(alert: number, versions: tls.SecureContextOptions, { server }: Pki): Promise<OptingOut> {
  const [cert, key] = [server.ecdsa.certificate, server.ecdsa.key].map((file) => readFileSync(file));
  const secureContext = tls.createSecureContext({ cert: cert!, key: key!, ciphers: "DEFAULT@SECLEVEL=0", ...versions });
  const listening = net.createServer((socket) => {
    own.connections += 1;
    socket.on("error", () => {});
    if (own.connections % 2 === 1) {
      socket.once("data", () => socket.end(fatalAlert(alert)));
      return;
    }
    const stream = new tls.TLSSocket(socket, { isServer: true, secureContext });
    stream.on("error", () => {});
    stream.once("data", () => stream.end("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"));
  });
  await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
  const own = {
    port: (listening.address() as net.AddressInfo).port,
    connections: 0,
    close: () => void listening.close(),
  };
  return own;
}

const SHARE = Buffer.concat([u16(0x001d), vector16(Buffer.alloc(32, 9))]);

/** A hello of TLS 1.3 with a share for X25519 alone, or for `share`. */
function helloFor(name: string, share = SHARE): Buffer {
  return inRecords(
    helloMessage({
      suites: [0x1301],
      extensions: [
        [0, serverNames([0, name])],
        [10, vector16(u16s([0x001d, 0x0017]))],
        [13, vector16(u16s([0x0403, 0x0804]))],
        [43, vector8(u16s([0x0304]))],
        [51, vector16(share)],
      ],
    }),
  );
}

/** For P-256: its base point. */
const P256 = Buffer.from(
  "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
  "hex",
);

describe("A server, or a client, that opts out", needs("openssl", "curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let retrying: Origin;
  const servers = new Map<string, OptingOut>();

  before(async () => {
    pki = await makePki();
    servers.set("demands", await optingOut(116, {}, pki));
    servers.set("claimsOld", await optingOut(70, {}, pki));
    servers.set("isOld", await optingOut(70, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1" }, pki));
    retrying = await opensslServer(pki.server.ecdsa, { more: ["-groups", "P-256"] });
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: {
        ...Object.fromEntries([...servers].map(([name, { port }]) => [name, port])),
        retrying: retrying.port,
      },
      config: {
        policy: {
          rules: [
            { name: "bank", match: { host: [`bank.${DOMAIN}`] }, action: "bypass" },
            { name: "no", match: { host: [`no.${DOMAIN}`] }, action: "drop" },
          ],
        },
      },
    });
  });
  after(async () => {
    await node?.stop();
    for (const server of servers.values()) server.close();
    await retrying?.process.stop();
  });

  test("certificate_required in plaintext is no demand: it goes to the client, and nothing is bypassed or remembered", async () => {
    for (const host of [`first.${DOMAIN}`, `third.${DOMAIN}`]) {
      servers.get("demands")!.connections = 0;
      const { code, stdout } = await curl({ port: node.forward("demands") }, pki.root.certificate, [
        `https://${host}/`,
      ]);
      assert.notEqual(code, 0);
      assert.equal(stdout, "");
      const { verdict, closeReason } = await node.session(host);
      assert.notEqual(verdict, "bypass");
      assert.match(closeReason!, /refused the handshake: certificate_required/);
      assert.equal(servers.get("demands")!.connections, 1);
    }
  });

  test("A server that claims to be too old, and then chooses an allowed version, is cut", async () => {
    const host = `claims.${DOMAIN}`;
    const { code, stdout } = await curl({ port: node.forward("claimsOld") }, pki.root.certificate, [
      `https://${host}/`,
    ]);
    assert.notEqual(code, 0);
    assert.equal(stdout, "");
    const { verdict, rule, reason } = await node.session(host);
    assert.deepEqual([verdict, rule], ["drop", "versions"]);
    assert.match(reason!, /^The server chose TLSv1\.3/);
  });

  test("A server that is too old passes", async () => {
    const name = `old.${DOMAIN}`;
    const way = { port: node.forward("isOld") };
    const { code, stdout, stderr } = await opensslClient({ way, name, roots: pki.root.certificate });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /secret/);
    const { verdict, rule } = await node.session(name);
    assert.deepEqual([verdict, rule], ["bypass", "versions"]);
  });

  test("A real client that is asked for another share is bypassed as before", async () => {
    const way = { port: node.forward("retrying") };
    const name = `bank.${DOMAIN}`;
    const more = ["-groups", "X25519:P-256"];
    const { code, stdout, stderr } = await opensslClient({ way, name, roots: pki.root.certificate, more });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /subject=CN = ecdsa/);
    assert.equal((await node.session(name)).verdict, "bypass");
  });

  for (const [first, action] of [
    ["bank", "bypass"],
    ["yes", "decrypt"],
  ] as const) {
    test(`A second hello may not name another host than the first, where that is to ${action}`, async () => {
      const since = Date.now();
      const socket = net.connect(node.forward("retrying"), "127.0.0.1");
      await once(socket, "connect");
      const from = socket.localPort!;
      // The node's own client leg asks for another share when there is none.
      socket.write(helloFor(`${first}.${DOMAIN}`, action === "bypass" ? SHARE : Buffer.alloc(0)));
      const retry = (await nextChunk(socket))!;
      assert.deepEqual([retry[0], retry[5], retry.subarray(11, 15).toString("hex")], [22, 2, "cf21ad74"]);
      const share = action === "bypass" ? Buffer.concat([u16(0x0017), vector16(P256)]) : SHARE;
      socket.write(helloFor(`no.${DOMAIN}`, share));
      const answer = (await nextChunk(socket).catch(() => undefined)) ?? Buffer.alloc(0);
      // A reset, or the alert illegal_parameter.
      assert.equal(answer.toString("hex"), action === "bypass" ? "" : "1503030002022f");
      socket.destroy();
      const session = await node.sessionFrom(from, since);
      assert.match(session.closeReason!, /second ClientHello names another host/);
      if (action === "bypass") assert.deepEqual([session.verdict, session.rule], ["drop", "second hello"]);
    });
  }
});
