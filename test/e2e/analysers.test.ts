import assert from "node:assert/strict";
import { hash, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { must, until } from "../processes.ts";

/** Hosts that the rule names: each test asks for its own. */
const [PLAIN, MAPPED, LOGGED] = [`plain.${DOMAIN}`, `mapped.${DOMAIN}`, `logged.${DOMAIN}`];
const SEALED = `sealed.${DOMAIN}`;
const UNWANTED = `unwanted.${DOMAIN}`;
const OTHER = `other.${DOMAIN}`;

describe("Analysers that see only the plaintext", needs("openssl", "nginx-light", "curl", "tshark"), () => {
  let node: TestNode;
  let origin: Nginx;
  let root: string;
  let certificate: X509Certificate;

  before(async () => {
    const pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    writeFileSync(join(origin.files, "small"), "small");
    const ports = { [origin.port]: 80 };
    root = pki.root.certificate;
    certificate = new X509Certificate(readFileSync(pki.server.ecdsa.certificate));
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: origin.port },
      config: {
        policy: {
          rules: [
            { name: "sealed", match: { host: SEALED }, action: "bypass" },
            { name: "unwanted", match: { host: UNWANTED }, action: "drop" },
            { name: "analysed", match: { host: [PLAIN, MAPPED, LOGGED] }, action: "decrypt" },
          ],
        },
        feeds: [
          { name: "http", kind: "pcapng", directory: "./http", rules: ["analysed"], alpn: "http/1.1", ports },
          { name: "tls", kind: "tls-log", file: "./tls/eve.json" },
          { name: "ssl", kind: "tls-log", file: "./tls/ssl.log", format: "zeek" },
          { name: "some", kind: "tls-log", file: "./tls/some.json", rules: ["analysed", "unwanted"] },
          { name: "all", kind: "pcapng", directory: "./captures" },
        ],
      },
    });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
  });

  const request = async (host: string, roots = node.primary, expected = 0) => {
    const { code, stderr } = await curl({ port: node.forward("web") }, roots, ["--http2", `https://${host}/small`]);
    assert.equal(code, expected, stderr);
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
    const session = await request(MAPPED);
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

  /** The line about this session, once it is there. */
  const lineOf = (file: string, id: string) =>
    until(`a line about ${id} in ${file}`, () => {
      if (!existsSync(join(node.folder, "tls", file))) return false;
      const lines = readFileSync(join(node.folder, "tls", file), "utf8")
        .split("\n")
        .slice(0, -1);
      return lines.map((line) => JSON.parse(line)).find(({ clearline }) => clearline.session === id) ?? false;
    });

  test("A TLS log has a line for each session as Suricata writes it, with both legs and the verdict", async () => {
    const session = await request(DOMAIN);
    const { tls, clearline, ...event } = await lineOf("eve.json", session.id);
    assert.deepEqual(
      { ...event, timestamp: "", flow_id: 0 },
      {
        ...{ timestamp: "", flow_id: 0, event_type: "tls", proto: "TCP", community_id: session.communityId },
        ...{ src_ip: "127.0.0.1", src_port: session.client.port, dest_ip: "127.0.0.1", dest_port: origin.port },
      },
    );
    assert.match(event.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0000$/);
    assert.ok(Number.isSafeInteger(event.flow_id));
    assert.deepEqual([tls.sni, tls.version, tls.ja3.hash, tls.ja4], [DOMAIN, "TLS 1.3", session.ja3, session.ja4]);
    for (const { hash: fingerprint, string } of [tls.ja3, tls.ja3s]) assert.equal(hash("md5", string), fingerprint);
    // TLS 1.3 says so in supported_versions (43), and has a key_share (51).
    assert.match(tls.ja3s.string, /^771,486[5-7],(43-51|51-43)$/);
    assert.deepEqual([tls.client_alpns, tls.server_alpns], [["h2", "http/1.1"], ["h2"]]);
    assert.equal(tls.fingerprint, certificate.fingerprint.toLowerCase());
    assert.equal(tls.serial.replaceAll(":", ""), certificate.serialNumber);
    assert.equal(tls.notafter, new Date(certificate.validTo).toISOString().slice(0, 19));
    const { verdict, rule, clientLeg, serverLeg, presented } = clearline;
    assert.deepEqual([verdict, rule], ["decrypt", "default"]);
    assert.deepEqual([clientLeg.version, serverLeg.version], ["TLSv1.3", "TLSv1.3"]);
    assert.equal(presented.sha256, session.presented?.sha256);
    assert.ok(serverLeg.received > 0);
    assert.equal(statSync(join(node.folder, "tls/eve.json")).mode & 0o777, 0o600);
  });

  test("In Zeek's shape it has the same, also of sessions that are bypassed and dropped", async () => {
    const decrypted = await lineOf("ssl.log", (await request(LOGGED)).id);
    assert.deepEqual([decrypted.server_name, decrypted.version, decrypted.established], [LOGGED, "TLSv13", true]);
    assert.match(`${decrypted.uid} ${decrypted.cipher} ${decrypted.curve}`, /^C\w+ TLS_AES_\w+ \w+$/);
    assert.deepEqual(decrypted.cert_chain_fps, [certificate.fingerprint256.replaceAll(":", "").toLowerCase()]);
    assert.deepEqual([decrypted.validation_status, decrypted.sni_matches_cert], ["ok", true]);

    const bypassed = await lineOf("ssl.log", (await request(SEALED, root)).id);
    assert.deepEqual(
      [bypassed.server_name, bypassed.clearline.verdict, bypassed.established],
      [SEALED, "bypass", false],
    );
    const dropped = await request(UNWANTED, root, 35);
    const line = await lineOf("ssl.log", dropped.id);
    assert.deepEqual([line.server_name, line.ja4, line.clearline.verdict], [UNWANTED, dropped.ja4, "drop"]);
    // The feed with rules has this line alone of the last two sessions.
    await lineOf("some.json", dropped.id);
    assert.ok(!readFileSync(join(node.folder, "tls/some.json"), "utf8").includes(SEALED));
  });
});
