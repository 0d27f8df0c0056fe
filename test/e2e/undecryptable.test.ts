import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { connectThrough, GET } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { accepts, freePort, type Outcome, type Program, run, start } from "../processes.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const OLD = "NORMAL:%COMPAT:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+3DES-CBC:+ARCFOUR-128:+SHA1:+RSA";

describe("TLS that cannot be decrypted", needs("openssl", "gnutls-bin"), () => {
  let pki: Pki;
  let node: TestNode;
  const servers: Program[] = [];
  const ports = { old: 0, oldStrict: 0, psk: 0, pskStrict: 0 };

  before(async () => {
    pki = await makePki();
    const [old, psk] = [await freePort(), await freePort()];
    const { certificate, key } = pki.server.rsa;
    const files = ["--x509certfile", certificate, "--x509keyfile", key, "--disable-client-cert"];
    servers.push(start("/usr/bin/gnutls-serv", ["--port", String(old), "--http", "--priority", OLD, ...files]));
    const shared = ["-accept", `127.0.0.1:${psk}`, "-nocert", "-psk", KEY, "-www"];
    servers.push(start(program("openssl"), ["s_server", ...shared]));
    await Promise.all([accepts(old), accepts(psk)]);
    const forwards = { old, oldStrict: old, psk, pskStrict: psk };
    node = await startNode({
      trust: [pki.root.certificate],
      forwards,
      config: {
        policy: {
          rules: [
            {
              name: "strict",
              match: { listener: ["oldStrict", "pskStrict"] },
              action: "decrypt",
              undecryptable: "drop",
            },
            { name: "no", match: { host: [`no.${DOMAIN}`] }, action: "drop" },
          ],
        },
      },
    });
    for (const name of Object.keys(ports) as (keyof typeof ports)[]) ports[name] = node.forward(name);
  });
  after(async () => {
    await node?.stop();
    for (const server of servers) await server.stop();
  });

  const gnutls = (port: number, cipher: string, name: string): Promise<Outcome> => {
    const priority = OLD.replace("+3DES-CBC:+ARCFOUR-128", cipher);
    const trust = ["--x509cafile", pki.root.certificate, "--sni-hostname", name, "--verify-hostname", name];
    const args = ["-p", String(port), ...trust, "--priority", priority, "127.0.0.1"];
    return run(program("gnutls-bin"), args, { input: GET, within: 20_000 });
  };
  const psk = (port: number, name: string): Promise<Outcome> => {
    const suites = ["-tls1_2", "-cipher", "PSK-AES128-GCM-SHA256:ECDHE-PSK-AES128-CBC-SHA256"];
    const to = ["-connect", `127.0.0.1:${port}`, "-servername", name, "-psk", KEY];
    return run(program("openssl"), ["s_client", ...to, ...suites, "-ign_eof"], { input: GET, within: 20_000 });
  };

  for (const cipher of ["3DES-CBC", "ARCFOUR-128"]) {
    test(`A client with nothing but ${cipher} is bypassed by default, and the record says why`, async () => {
      const name = `${cipher.toLowerCase()}.${DOMAIN}`;
      const { code, stdout, stderr } = await gnutls(ports.old, `+${cipher}`, name);
      assert.equal(code, 0, stdout + stderr);
      assert.partialDeepStrictEqual(await node.session(name), {
        ...{ verdict: "bypass", phase: "sni", rule: "undecryptable", protocol: "tls" },
        reason: "The client offers no cipher suite that this node may use; policy.undecryptable is bypass",
      });
    });
  }

  test("Where a rule drops what cannot be decrypted, the client is told with an alert", async () => {
    const { code, stdout } = await gnutls(ports.oldStrict, "+3DES-CBC", `strict.${DOMAIN}`);
    assert.notEqual(code, 0);
    assert.match(stdout, /Received alert \[49\]/);
    assert.partialDeepStrictEqual(await node.session(`strict.${DOMAIN}`), { verdict: "drop", rule: "strict" });
  });

  test("A drop rule holds for it", async () => {
    const { code } = await gnutls(ports.old, "+3DES-CBC", `no.${DOMAIN}`);
    assert.notEqual(code, 0);
    assert.partialDeepStrictEqual(await node.session(`no.${DOMAIN}`), { verdict: "drop", rule: "no" });
  });

  test("A client that speaks only pre-shared keys is bypassed, or dropped where policy says so", async () => {
    const passed = await psk(ports.psk, `psk.${DOMAIN}`);
    assert.match(passed.stdout, /Cipher is (?:ECDHE-)?PSK/);
    assert.partialDeepStrictEqual(await node.session(`psk.${DOMAIN}`), { verdict: "bypass", rule: "undecryptable" });
    const dropped = await psk(ports.pskStrict, `psk-strict.${DOMAIN}`);
    assert.notEqual(dropped.code, 0);
    assert.partialDeepStrictEqual(await node.session(`psk-strict.${DOMAIN}`), { verdict: "drop", rule: "strict" });
  });

  test("A server that speaks only what the client offers besides is bypassed once it has refused the node", async () => {
    for (const [way, name, more] of [
      [ports.psk, `psk-13.${DOMAIN}`, ["-tls1_3"]],
      [ports.psk, `psk-or-not.${DOMAIN}`, ["-tls1_2", "-cipher", "PSK-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"]],
    ] as const) {
      const to = ["-connect", `127.0.0.1:${way}`, "-servername", name, "-psk", KEY, ...more, "-ign_eof"];
      const { stdout, stderr } = await run(program("openssl"), ["s_client", ...to], { input: GET, within: 20_000 });
      assert.match(stdout, /HTTP\/1\.0 200 ok/i, stderr);
      const record = await node.session(name);
      assert.partialDeepStrictEqual(record, { verdict: "bypass", rule: "undecryptable" });
      assert.match(record.reason ?? "", /^The server refused what this node can offer/);
    }
  });

  test("A server that refuses the node and then chooses what it refused is cut off", async () => {
    const { certificate, key } = pki.server.ecdsa;
    const secureContext = tls.createSecureContext({ cert: readFileSync(certificate), key: readFileSync(key) });
    let visits = 0;
    await using server = await listening((socket) => {
      visits += 1;
      if (visits % 2 === 1) return void socket.once("data", () => socket.end(Buffer.from("15030300020228", "hex")));
      const stream = new tls.TLSSocket(socket, { isServer: true, secureContext });
      stream.on("error", () => {}).once("secure", () => stream.end("secret"));
    });
    const name = `liar.${DOMAIN}`;
    const socket = (await connectThrough(node.proxy, `127.0.0.1:${server.port}`)).socket;
    const client = tls.connect({
      ...{ socket, servername: name, rejectUnauthorized: false, ecdhCurve: "X25519:P-256" },
      // A suite that the node leaves out.
      ...{ ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256:PSK-AES128-GCM-SHA256", maxVersion: "TLSv1.2" },
      pskCallback: () => null,
    });
    await assert.rejects(once(client, "data"));
    assert.equal(visits, 2);
    assert.partialDeepStrictEqual(await node.session(name), {
      ...{ verdict: "drop", rule: "undecryptable" },
      reason: "The server chose what it had refused to this node before",
    });
  });
});

async function listening(accept: (socket: net.Socket) => void): Promise<AsyncDisposable & { readonly port: number }> {
  const server = net.createServer((socket) => accept(socket.on("error", () => {})));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as net.AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
    },
  };
}
