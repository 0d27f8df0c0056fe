import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Session } from "../../src/control/api.ts";
import { curl, opensslClient } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { buildGoPeer, buildJavaPeer, java, type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { must, run, until } from "../processes.ts";

const PACKAGES = ["openssl", "gnutls-bin", "curl", "nginx-light", "golang-go", "openjdk-17-jdk-headless"];

describe("Real clients that resume", needs(...PACKAGES), () => {
  let pki: Pki;
  let web: Nginx;
  let go: string;
  let classes: string;
  const nodes = new Map<"identifiers" | "tickets", TestNode>();

  before(async () => {
    [pki, go, classes] = await Promise.all([makePki(), buildGoPeer(), buildJavaPeer()]);
    web = await nginx(pki.server.ecdsa);
    const options = { trust: [pki.root.certificate], forwards: { web: web.port } };
    nodes.set("identifiers", await startNode(options));
    nodes.set("tickets", await startNode({ ...options, config: { resumption: { tickets: true } } }));
  });
  after(async () => {
    for (const node of nodes.values()) await node.stop();
    await web?.process.stop();
  });

  /** Whether the client leg and the server leg of this host's sessions resumed, oldest first. */
  const recordsOf = async (node: TestNode, name: string, count: number) => {
    const over = ({ sni, end }: Session) => sni === name && end !== null;
    const found = await until(`${count} sessions of ${name}`, async () => {
      const seen = (await node.sessions({ host: name })).filter(over);
      return seen.length >= count && seen;
    });
    assert.ok(found.every(({ verdict }) => verdict === "decrypt"));
    const inOrder = found.toSorted((a, b) => a.start - b.start);
    return inOrder.map(({ clientLeg }) => clientLeg.resumed);
  };

  /** Connects twice with one session cache. Resolves with whether the client says that it resumed; undefined: it does not say. */
  type Client = (port: number, name: string, roots: string, version: Version) => Promise<boolean | undefined>;
  type Version = "TLSv1.2" | "TLSv1.3";

  const twice: Client = async (port, name, roots, version) => {
    const output = await must(go, ["again", `127.0.0.1:${port}`, name, roots, version]);
    return output.trim().split("\n").at(-1) === "true";
  };
  const jsse: Client = async (port, name, roots, version) => {
    const output = await must(java(), ["-cp", classes, "Peer", "again", roots, `127.0.0.1:${port}`, name, version]);
    return output.trim().split("\n").at(-1) === "true";
  };
  const gnutls: Client = async (port, name, roots, version) => {
    const priority = `NORMAL:-VERS-ALL:+VERS-TLS${version.slice(4)}`;
    const { code, stdout, stderr } = await run(
      program("gnutls-bin"),
      [
        ...["--x509cafile", roots, "--port", String(port), "--sni-hostname", name, "--verify-hostname", name],
        ...["--resume", "--waitresumption", "--priority", priority, "127.0.0.1"],
      ],
      { input: "GET /negotiated HTTP/1.0\r\n\r\n" },
    );
    assert.equal(code, 0, stdout + stderr);
    return /This is a resumed session/.test(stdout);
  };
  const curlTwice: Client = async (port, name, roots, version) => {
    const url = `https://${name}/negotiated`;
    const fixed = version === "TLSv1.2" ? ["--tlsv1.2", "--tls-max", "1.2"] : ["--tlsv1.3"];
    const { code, stderr } = await curl({ port }, roots, [...fixed, "--http1.1", "-H", "Connection: close", url, url]);
    assert.equal(code, 0, stderr);
    return undefined;
  };
  /** Connects five times with one session. */
  const reconnect: Client = async (port, name, roots, version) => {
    const more = [
      "-reconnect",
      "-no_ign_eof",
      ...(nodes.get("tickets")!.forward("web") === port ? [] : ["-no_ticket"]),
    ];
    const { code, stdout, stderr } = await opensslClient({ way: { port }, name, roots, version, more, input: "" });
    assert.equal(code, 0, stderr);
    assert.equal(stdout.match(/^New, /gm)?.length, 1);
    return stdout.match(/^Reused, /gm)?.length === 5;
  };

  for (const [who, how, version, client] of [
    ["OpenSSL's s_client -reconnect", "identifiers", "TLSv1.2", reconnect],
    ["OpenSSL's s_client -reconnect", "tickets", "TLSv1.2", reconnect],
    ["GnuTLS", "identifiers", "TLSv1.2", gnutls],
    ["GnuTLS", "tickets", "TLSv1.2", gnutls],
    ["GnuTLS", "tickets", "TLSv1.3", gnutls],
    ["curl", "identifiers", "TLSv1.2", curlTwice],
    ["curl", "tickets", "TLSv1.2", curlTwice],
    ["curl", "tickets", "TLSv1.3", curlTwice],
    ["JSSE", "identifiers", "TLSv1.2", jsse],
    ["JSSE", "tickets", "TLSv1.2", jsse],
    ["JSSE", "tickets", "TLSv1.3", jsse],
    // Go's client resumes with tickets only.
    ["Go", "tickets", "TLSv1.2", twice],
    ["Go", "tickets", "TLSv1.3", twice],
  ] as const) {
    test(`${who} resumes with ${version} where the node has ${how}`, async () => {
      const node = nodes.get(how)!;
      const label = who.replaceAll(/[^A-Za-z]/g, "").toLowerCase();
      const name = `${label}-${how}-${version.replace(".", "").toLowerCase()}.${DOMAIN}`;
      const said = await client(node.forward("web"), name, node.primary, version);
      const [first, ...others] = await recordsOf(node, name, client === reconnect ? 6 : 2);
      assert.equal(first, false);
      // s_client -reconnect may close before the handshake has ended at the node; the record then has no client leg.
      const full = others.filter((resumed) => (client === reconnect ? resumed === false : resumed !== true));
      assert.ok(others.length > 0 && full.length === 0, `resumed: ${others}`);
      assert.notEqual(said, false);
    });
  }
});
