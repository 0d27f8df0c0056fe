import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { must } from "../processes.ts";

const CHECKED = [
  "-o",
  "ip.check_checksum:TRUE",
  "-o",
  "tcp.check_checksum:TRUE",
  "-o",
  "tcp.analyze_sequence_numbers:TRUE",
];

describe("The pcapng feed", needs("openssl", "nginx-light", "curl", "tshark"), () => {
  let node: TestNode;
  let origin: Nginx;

  before(async () => {
    const pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    writeFileSync(join(origin.files, "words"), "the quick brown fox\n".repeat(20_000));
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: { feeds: [{ name: "archive", kind: "pcapng", directory: "./captures" }] },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  for (const [option, host, frame] of [
    ["--http1.1", `h1.${DOMAIN}`, "http.request.uri"],
    ["--http2", `h2.${DOMAIN}`, "http2.headers.path"],
  ] as const) {
    for (const way of ["explicit", "forward"] as const) {
      test(`tshark reads the plaintext of curl ${option}, with addresses, checksums and the session's name, ${way}`, async () => {
        const name = `${way}-${host}`;
        const path = way === "explicit" ? { proxy: node.proxy, target: origin.port } : { port: node.forward("web") };
        const url = `https://${name}/words?q=${way}`;
        const { code, stderr, stdout } = await curl(path, node.primary, [
          option,
          "-w",
          "%{local_port}",
          "-o",
          "/dev/null",
          url,
        ]);
        assert.equal(code, 0, stderr);
        const session = await node.session(name);
        const file = session.feeds["archive"] ?? "";
        assert.ok(file.startsWith(node.captures), file);
        const port = Number(stdout);
        assert.equal(session.client.port, port);

        // Wireshark knows plaintext protocols by port; the server's port here is any.
        const kind = option === "--http2" ? "http2" : "http";
        const decode = ["-d", `tcp.port==${origin.port},${kind}`];
        const tshark = (filter: string, ...fields: string[]) =>
          must(program("tshark"), [
            ...["-r", file, "-Y", `tcp.port==${port} && (${filter})`, ...decode, ...CHECKED],
            ...["-T", "fields", ...fields.flatMap((field) => ["-e", field])],
          ]);

        assert.match(await tshark(frame, frame), new RegExp(`^/words\\?q=${way}`, "m"));
        const ends = (await tshark("tcp.flags.syn==1", "ip.src", "ip.dst", "tcp.srcport", "tcp.dstport"))
          .trim()
          .split("\n");
        assert.deepEqual(ends, [
          `127.0.0.1\t127.0.0.1\t${port}\t${origin.port}`,
          `127.0.0.1\t127.0.0.1\t${origin.port}\t${port}`,
        ]);
        assert.equal((await tshark("tcp.flags.fin==1", "tcp.srcport")).trim().split("\n").length, 2);
        // Offloading leaves the checksums of packets with a payload to the network card.
        const bad =
          "(tcp.checksum.status==0 && tcp.len==0) || ip.checksum.status==0 || tcp.analysis.flags || _ws.malformed";
        assert.equal(await tshark(bad, "frame.number", "_ws.expert.message"), "");
        assert.notEqual(await tshark("tcp.checksum.status==1 && ip.checksum.status==1", "frame.number"), "");
        assert.match(
          await tshark("frame.comment", "frame.comment"),
          new RegExp(`${session.id}.*${name.replaceAll(".", "\\.")}`),
        );

        // tshark puts no packets together whose checksums it has looked at and found wrong; by default it does not look.
        const folder = join(node.folder, `objects-${name}`);
        await must(program("tshark"), ["-r", file, ...decode, "-Q", "--export-objects", `http,${folder}`]);
        const sizes = await must("/bin/sh", ["-c", 'wc -c "$1"/words*', "sh", folder]).catch(() => "");
        if (kind === "http") assert.match(sizes, new RegExp(`^ *400000 .*${way}$`, "m"));
      });
    }
  }

  test("The files are the user's own, and no key is in them", async () => {
    const modes = await must("/bin/sh", ["-c", 'stat -c "%a %n" "$1" "$1"/*', "sh", node.captures]);
    for (const line of modes.trim().split("\n")) assert.match(line, /^(700 .*captures|600 .*\.pcapng)$/);
  });
});
