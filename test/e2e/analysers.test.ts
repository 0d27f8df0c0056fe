import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { must, until } from "../processes.ts";

const PLAIN = `plain.${DOMAIN}`;
const OTHER = `other.${DOMAIN}`;

describe("Analysers that see only the plaintext", needs("openssl", "nginx-light", "curl", "tshark"), () => {
  let node: TestNode;
  let origin: Nginx;

  before(async () => {
    const pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    writeFileSync(join(origin.files, "small"), "small");
    const ports = { [origin.port]: 80 };
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        policy: { rules: [{ name: "analysed", match: { host: PLAIN }, action: "decrypt" }] },
        feeds: [
          { name: "http", kind: "pcapng", directory: "./http", rules: ["analysed"], alpn: "http/1.1", ports },
          { name: "all", kind: "pcapng", directory: "./captures" },
        ],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  const request = async (host: string) => {
    const { code, stderr } = await curl({ port: node.forward("web") }, node.primary, [
      "--http2",
      `https://${host}/small`,
    ]);
    assert.equal(code, 0, stderr);
    return node.session(host);
  };

  /** What tshark finds in the file by itself, once it has the session's last packets. */
  const dissect = (file: string, filter: string, ...fields: string[]) =>
    until(`${filter} in ${file}`, async () => {
      if (!existsSync(file)) return false;
      const columns = fields.flatMap((field) => ["-e", field]);
      const options = ["-r", file, "--enable-protocol", "communityid", "-Y", filter, "-T", "fields"];
      return (await must(program("tshark"), [...options, ...columns])).trim();
    });

  test("With ports and alpn, tshark finds HTTP/1.1 by itself, in the sessions of the feed's rules only", async () => {
    const session = await request(PLAIN);
    assert.deepEqual([session.clientLeg.alpn, session.serverLeg.alpn], ["http/1.1", "http/1.1"]);
    const file = session.feeds["http"]!;
    const seen = await dissect(file, "http.request", "tcp.dstport", "http.host", "http.request.version");
    assert.equal(seen, `80\t${PLAIN}\tHTTP/1.1`);

    const other = await request(OTHER);
    assert.deepEqual([other.clientLeg.alpn, other.serverLeg.alpn], ["h2", "h2"]);
    assert.equal(other.feeds["http"], undefined);
  });

  test("The Community ID in the record and in the feeds' comments is the one that tshark computes", async () => {
    const session = await request(PLAIN);
    const syn = "tcp.flags.syn == 1 && tcp.flags.ack == 0";
    const mine = `${syn} && tcp.port == ${session.client.port}`;
    const [id, comment = ""] = (await dissect(session.feeds["all"]!, mine, "communityid", "frame.comment")).split("\t");
    assert.equal(session.communityId, id);
    assert.ok(comment.endsWith(`; Community ID ${id}`), comment);
    // Where ports are mapped, an analyser computes another one.
    const mapped = await dissect(session.feeds["http"]!, mine, "communityid", "frame.comment");
    const [there, both = ""] = mapped.split("\t");
    assert.notEqual(there, id);
    assert.ok(both.endsWith(`; Community ID ${id}, here port 80 and ${there}`), both);
    assert.match((await node.command("session", session.id)).stdout, new RegExp(`Community ID +${RegExp.escape(id!)}`));
  });
});
