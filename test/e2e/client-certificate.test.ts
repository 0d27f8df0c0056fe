import assert from "node:assert/strict";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { curl, type Way } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { accepts, freePort, type Outcome, type Program, scratch, start, until } from "../processes.ts";

const VERSIONS = ["1.2", "1.3"] as const;

/** Servers that want a client certificate and do not insist on it in the handshake. */
describe("A client certificate", needs("openssl", "curl", "apache2-bin"), () => {
  let pki: Pki;
  let node: TestNode;
  let trusting: string;
  const programs: Program[] = [];
  const servers: tls.Server[] = [];
  const ports = new Map<string, number>();

  before(async () => {
    pki = await makePki();
    for (const version of VERSIONS) {
      const { port, process } = await apache(pki, version);
      programs.push(process);
      ports.set(`folder-${version}`, port);
      const server = asking(pki, version);
      servers.push(server);
      await once(server.listen(0, "127.0.0.1"), "listening");
      ports.set(`optional-${version}`, (server.address() as net.AddressInfo).port);
    }
    node = await startNode({ trust: [pki.root.certificate], forwards: Object.fromEntries(ports) });
    trusting = join(node.folder, "both.pem");
    writeFileSync(trusting, readFileSync(node.primary, "utf8") + readFileSync(pki.root.certificate, "utf8"));
  });
  after(async () => {
    await node?.stop();
    for (const server of servers) server.close();
    for (const one of programs) await one.stop();
  });

  const ask = (way: Way, name: string, version: string, path: string): Promise<Outcome> => {
    const certificate = ["--cert", pki.client.certificate, "--key", pki.client.key];
    return curl(way, trusting, [...certificate, "--tls-max", version, `https://${name}${path}`]);
  };

  /** So many sessions with this SNI, once they have ended, the newest first. */
  const closed = (name: string, count: number) =>
    until(`${count} closed sessions of ${name}`, async () => {
      const found = (await node.sessions({ host: name })).filter(({ sni, end }) => sni === name && end !== null);
      return found.length === count && found.sort((a, b) => b.start - a.start);
    });

  for (const version of VERSIONS) {
    for (const way of ["forward", "explicit"] as const) {
      const to = (listener: string): Way =>
        way === "forward" ? { port: node.forward(listener) } : { proxy: node.proxy, target: ports.get(listener)! };

      test(`A server that asks for it for one folder is noticed and bypassed from then on, TLS ${version}, ${way}`, async () => {
        const listener = `folder-${version}`;
        const name = `${way}-folder-${version.replace(".", "-")}.${DOMAIN}`;
        // What is for everybody is decrypted.
        const open = await ask(to(listener), name, version, "/");
        assert.equal(open.stdout, "open", open.stderr);
        const before = await node.session(name);
        assert.deepEqual([before.verdict, /client certificate/.test(before.closeReason ?? "")], ["decrypt", false]);

        const first = await ask(to(listener), name, version, "/secret/");
        assert.notEqual(first.stdout, "secret");
        const then = await ask(to(listener), name, version, "/secret/");
        assert.equal(then.stdout, "secret", then.stderr);
        const [last, asked] = await closed(name, 3);
        assert.deepEqual([last!.verdict, last!.rule], ["bypass", "client certificate"]);
        assert.match(
          asked!.closeReason ?? "",
          /asked for a client certificate after the handshake, .*: policy\.clientCertificate holds/,
        );
      });

      test(`A server that asks for it without insisting is bypassed from then on, TLS ${version}, ${way}`, async () => {
        const listener = `optional-${version}`;
        const name = `${way}-optional-${version.replace(".", "-")}.${DOMAIN}`;
        const first = await ask(to(listener), name, version, "/");
        assert.equal(first.stdout, "anonymous", first.stderr);
        const { verdict, closeReason } = await node.session(name);
        assert.equal(verdict, "decrypt");
        assert.match(
          closeReason ?? "",
          /asked for a client certificate without insisting, .*: policy\.clientCertificate holds/,
        );
        const then = await ask(to(listener), name, version, "/");
        assert.equal(then.stdout, "known", then.stderr);
      });
    }
  }

  test("With optional: decrypt a server that does not insist stays decrypted, and the record says that it asked", async () => {
    node.rewrite({ policy: { clientCertificate: { optional: "decrypt" } } });
    await node.command("reload");
    const name = `still-decrypted.${DOMAIN}`;
    for (const _ of [1, 2]) {
      const { stdout, stderr } = await ask({ port: node.forward("optional-1.3") }, name, "1.3", "/");
      assert.equal(stdout, "anonymous", stderr);
    }
    for (const { verdict } of await closed(name, 2)) assert.equal(verdict, "decrypt");
  });
});

/** As kube-apiserver and Vault do: whoever has no certificate is anonymous. */
function asking(pki: Pki, version: (typeof VERSIONS)[number]): tls.Server {
  const { certificate, key } = pki.server.ecdsa;
  const options: tls.TlsOptions = {
    ...{ cert: readFileSync(certificate), key: readFileSync(key), ca: readFileSync(pki.root.certificate) },
    ...{ requestCert: true, rejectUnauthorized: false, minVersion: `TLSv${version}`, maxVersion: `TLSv${version}` },
  };
  return tls.createServer(options, (socket) => {
    const who = socket.authorized ? "known" : "anonymous";
    socket.on("error", () => undefined).resume();
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${who.length}\r\nConnection: close\r\n\r\n${who}`);
  });
}

/** Apache wants a certificate for one folder: it renegotiates in TLS 1.2, and asks after the handshake in TLS 1.3. */
async function apache(pki: Pki, version: (typeof VERSIONS)[number]) {
  const port = await freePort();
  const folder = scratch();
  const at = (name: string) => join(folder, name);
  mkdirSync(at("www/secret"), { recursive: true });
  // Apache that is started as root reads its pages as another user.
  chmodSync(folder, 0o755);
  writeFileSync(at("www/index.html"), "open");
  writeFileSync(at("www/secret/index.html"), "secret");
  const modules = ["mpm_event", "authz_core", "dir", "ssl", "socache_shmcb"].map(
    (name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`,
  );
  const { certificate, key } = pki.server.rsa;
  writeFileSync(
    at("apache.conf"),
    `ServerName localhost
ServerRoot ${folder}
PidFile ${at("pid")}
ErrorLog ${at("error.log")}
Listen 127.0.0.1:${port}
${modules.join("\n")}
DocumentRoot ${at("www")}
DirectoryIndex index.html
SSLEngine on
SSLProtocol TLSv${version}
SSLCertificateFile ${certificate}
SSLCertificateKeyFile ${key}
SSLCACertificateFile ${pki.root.certificate}
<Directory ${at("www")}>
Require all granted
</Directory>
<Directory ${at("www/secret")}>
SSLVerifyClient require
SSLVerifyDepth 3
</Directory>
`,
  );
  const running = start(program("apache2-bin"), ["-f", at("apache.conf"), "-DFOREGROUND"]);
  await Promise.race([accepts(port), running.ended.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
  return { port, process: running };
}
