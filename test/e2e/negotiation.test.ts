import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { ClientHello } from "../../src/wire/client-hello.ts";
import { createClientHelloReader } from "../../src/wire/client-hello-reader.ts";
import { curl, GET, opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { type Tap, tap } from "../tap.ts";

const TLS12 = 0x0303;
const NULL_COMPRESSION = 0;

describe("Negotiation", needs("openssl", "nginx-light", "curl"), () => {
  let pki: Pki;
  let node: TestNode;
  let web: Nginx;
  let behind: Tap;
  let modern: tls.Server;
  const servers = new Map<string, Origin>();

  before(async () => {
    pki = await makePki();
    const { ecdsa } = pki.server;
    servers.set("http11", await opensslServer(ecdsa, { more: ["-alpn", "http/1.1"] }));
    servers.set("none", await opensslServer(ecdsa));
    web = await nginx(ecdsa);
    behind = await tap(web.port);
    const identity = { cert: readFileSync(ecdsa.certificate), key: readFileSync(ecdsa.key) };
    modern = tls.createServer({ ...identity, ecdhCurve: "X25519MLKEM768" }, (socket) => socket.end("hello"));
    modern.listen(0, "127.0.0.1");
    await once(modern, "listening");
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: {
        http11: servers.get("http11")!.port,
        none: servers.get("none")!.port,
        web: behind.port,
        modern: (modern.address() as net.AddressInfo).port,
      },
    });
  });
  after(async () => {
    await node?.stop();
    behind?.close();
    modern?.close();
    await web?.process.stop();
    for (const { process } of servers.values()) await process.stop();
  });

  for (const [listener, shown, alpn] of [
    ["http11", /ALPN protocol: http\/1\.1/, "http/1.1"],
    ["none", /No ALPN negotiated/, null],
  ] as const) {
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      test(`The client gets the ALPN that the server chose: ${alpn ?? "none"}, ${version}`, async () => {
        const name = `alpn-${listener}-${version.replace(".", "").toLowerCase()}.${DOMAIN}`;
        const more = ["-alpn", "h2,http/1.1"];
        const way = { port: node.forward(listener) };
        const { code, stdout, stderr } = await opensslClient({
          way,
          name,
          roots: node.primary,
          version,
          more,
          input: GET,
        });
        assert.equal(code, 0, stderr);
        assert.match(stdout, shown);
        const session = await node.session(name);
        assert.deepEqual([session.clientLeg.alpn, session.serverLeg.alpn], [alpn, alpn]);
      });
    }
  }

  test("X25519MLKEM768 is used on both legs when both peers have it", async () => {
    const name = `mlkem.${DOMAIN}`;
    const ca = readFileSync(node.primary, "utf8").split(/(?<=END CERTIFICATE-----\n)/);
    const ecdhCurve = "X25519MLKEM768";
    const socket = tls.connect({ port: node.forward("modern"), host: "127.0.0.1", servername: name, ca, ecdhCurve });
    socket.resume();
    await once(socket, "close");
    const session = await node.session(name);
    assert.deepEqual([session.clientLeg.group, session.serverLeg.group], ["X25519MLKEM768", "X25519MLKEM768"]);
  });

  const clients: [string, readonly string[]][] = [
    ["TLS 1.3 alone", ["--tlsv1.3"]],
    ["TLS 1.2 alone", ["--tlsv1.2", "--tls-max", "1.2"]],
    ["one suite of TLS 1.3", ["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256"]],
    [
      "two suites of TLS 1.2",
      ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA384"],
    ],
    ["one group", ["--curves", "P-384"]],
    ["weak suites too", ["--tls-max", "1.2", "--ciphers", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]],
    ["HTTP/1.1 alone", ["--http1.1"]],
  ];
  for (const [at, [title, options]] of clients.entries()) {
    test(`The server is offered nothing that the client did not offer: ${title}`, async () => {
      const name = `offer-${at}.${DOMAIN}`;
      const front = await tap(node.forward("web"));
      const earlier = behind.connections.length;
      const { code, stderr } = await curl({ port: front.port }, node.primary, [
        ...options,
        `https://${name}/negotiated`,
      ]);
      front.close();
      assert.equal(code, 0, stderr);
      await node.session(name);
      const offered = helloOf(front.connections[0]!.fromClient);
      const made = helloOf(behind.connections[earlier]!.fromClient);

      const extra = (list: keyof ClientHello) => {
        const had = offered[list] as readonly unknown[];
        // Signalling values (RFC 5746, section 3.3) are no suites.
        return (made[list] as readonly unknown[]).filter((one) => !had.includes(one) && one !== 0x00ff);
      };
      for (const list of [
        "versions",
        "cipherSuites",
        "supportedGroups",
        "signatureAlgorithms",
        "alpnProtocols",
      ] as const) {
        assert.deepEqual(extra(list), [], list);
      }
      assert.deepEqual(made.alpnProtocols, offered.alpnProtocols);
      assert.equal(made.serverName, name);
      assert.deepEqual(made.compressionMethods, [NULL_COMPRESSION]);
      assert.equal(made.earlyData, false);
      assert.ok(!made.random.equals(offered.random), "a hello of the node's own: RFC 8446, section 9.3");
      assert.ok(made.versions[0]! >= TLS12);
      // The node never offers NULL, export, anonymous, RC4 or DES suites.
      const weak = made.cipherSuites.filter((suite) => suite < 0x002f && suite !== 0x00ff);
      assert.deepEqual(weak, []);
    });
  }
});

function helloOf(bytes: Buffer): ClientHello {
  const reading = createClientHelloReader().push(bytes);
  assert.equal(reading.kind, "hello");
  return (reading as { hello: ClientHello }).hello;
}
