import assert from "node:assert/strict";
import { globSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl, curlArguments, type Way } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { must } from "../processes.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const WAYS = ["explicit", "forward", "inbound"] as const;

describe("nginx and curl", needs("openssl", "nginx-light", "curl"), () => {
  let pki: Pki;
  let origin: Nginx;
  let node: TestNode;
  const way = (kind: string): Way =>
    kind === "explicit" ? { proxy: node.proxy, target: origin.port } : { port: node.forward("web") };

  before(async () => {
    pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        keys: [{ hosts: [`*.in.${DOMAIN}`], ...pki.server.ecdsa }],
        feeds: [{ name: "archive", kind: "pcapng", directory: "./captures", rotate: "32MiB", keep: 4 }],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  for (const kind of WAYS) {
    for (const [option, alpn, protocol] of [
      ["--http1.1", "http/1.1", "HTTP/1.1"],
      ["--http2", "h2", "HTTP/2.0"],
    ] as const) {
      for (const version of ["1.2", "1.3"]) {
        test(`curl ${option} reaches nginx with TLS ${version}, ${kind}`, async () => {
          const name = `${option.slice(2)}-${version}-${kind}`.replaceAll(".", "");
          const host = `${name}.${kind === "inbound" ? "in." : ""}${DOMAIN}`;
          const roots = kind === "inbound" ? pki.root.certificate : node.primary;
          const limits = [`--tlsv${version}`, "--tls-max", version, option];
          const { code, stdout, stderr } = await curl(way(kind), roots, [...limits, `https://${host}/negotiated`]);
          assert.equal(code, 0, stderr);
          const [tls, , http, sni] = stdout.trim().split(" ");
          assert.deepEqual([tls, http, sni], [`TLSv${version}`, protocol, host]);

          const session = await node.session(host);
          assert.equal(session.verdict, "decrypt");
          assert.equal(session.sni, host);
          assert.deepEqual([session.clientLeg.version, session.clientLeg.alpn], [`TLSv${version}`, alpn]);
          assert.deepEqual([session.serverLeg.version, session.serverLeg.alpn], [`TLSv${version}`, alpn]);
          assert.equal(session.presented?.authority, kind === "inbound" ? "inbound" : "primary");
          assert.ok(session.feeds["archive"]?.endsWith(".pcapng"));
        });
      }
    }
  }

  describe("Large files", () => {
    const digests = new Map<number, string>();
    before(async () => {
      // Zeros in counter mode: the same bytes in every run, and no two equal blocks.
      const keystream = `openssl enc -aes-128-ctr -K ${"0".repeat(32)} -iv ${"0".repeat(32)} -in /dev/zero`;
      for (const size of [GIB, GIB / 4]) {
        const file = join(origin.files, `down-${size}`);
        await must("/bin/sh", ["-c", `${keystream} 2>/dev/null | head -c ${size} >"$1"`, "sh", file]);
        digests.set(size, await digestOf(file));
      }
    });

    for (const [option, kind, size] of [
      ["--http1.1", "forward", GIB],
      ["--http2", "explicit", GIB / 4],
    ] as const) {
      test(`A download of ${size / MIB} MiB with curl ${option}, ${kind}, arrives whole`, async () => {
        const name = `down-${kind}.${DOMAIN}`;
        const args = curlArguments(way(kind), node.primary, [option, `https://${name}/files/down-${size}`]);
        const pipe = '"$@" | openssl dgst -sha256 -r';
        const got = await must("/bin/sh", ["-c", pipe, "sh", program("curl"), ...args], { within: 180_000 });
        assert.equal(got.split(" ")[0], digests.get(size));
        const session = await node.session(name);
        assert.ok(session.clientLeg.sent > size);
        assert.equal(session.serverLeg.received, session.clientLeg.sent);
      });
    }

    for (const [option, kind, size] of [
      ["--http1.1", "explicit", GIB / 4],
      ["--http2", "forward", GIB],
    ] as const) {
      test(`An upload of ${size / MIB} MiB with curl ${option}, ${kind}, arrives whole`, async () => {
        const name = `up-${kind}.${DOMAIN}`;
        const file = join(origin.files, `up-${kind}`);
        const source = join(origin.files, `down-${size}`);
        const args = [option, "-T", source, "-w", "%{http_code}", `https://${name}/files/up-${kind}`];
        const { stdout, stderr } = await curl(way(kind), node.primary, args, 180_000);
        assert.equal(stdout, "201", stderr);
        assert.equal(await digestOf(file), digests.get(size));
        const session = await node.session(name);
        assert.ok(session.clientLeg.received > size);
        assert.equal(session.serverLeg.sent, session.clientLeg.received);
      });
    }

    test("The feed kept no more files than it may", () => {
      const sizes = globSync(join(node.captures, "*.pcapng")).map((file) => statSync(file).size);
      assert.ok(sizes.length > 0 && sizes.length <= 4, `${sizes.length} files`);
      assert.ok(Math.max(...sizes) < 40 * MIB, `sizes: ${sizes}`);
    });
  });
});

async function digestOf(file: string): Promise<string> {
  return (await must(program("openssl"), ["dgst", "-sha256", "-r", file])).split(" ")[0]!;
}
