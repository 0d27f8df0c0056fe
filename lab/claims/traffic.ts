import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { OPENSSL_ANY, OPENSSL_VERSIONS, type TlsVersion } from "../../test/peers.ts";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { dial, nextLine } from "../ends.ts";
import { FAMILIES, type Family } from "../network.ts";
import { DROPPED } from "../node.ts";
import { PORTS } from "../servers.ts";

const VERSION_PORTS: Readonly<Record<TlsVersion, number>> = {
  TLSv1: PORTS.tls10,
  "TLSv1.1": PORTS.tls11,
  "TLSv1.2": PORTS.https,
  "TLSv1.3": PORTS.https,
};
const PLAIN_BYTES = 4 * 1024 * 1024;

/** TLS on any port is decrypted; all other TCP passes. */
export const TRAFFIC: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [PORTS.https, PORTS.odd].map((port) => findsTls(family, port))),
  ...(Object.keys(VERSION_PORTS) as TlsVersion[]).map(speaks),
  ...FAMILIES.map(leavesPlaintext),
  ...FAMILIES.map(serverFirst),
  ...FAMILIES.map(nobodySpeaks),
  ...FAMILIES.map(judgesRequests),
];

/** Fetches the server's page with curl, which trusts only the node's CA, so success means decryption. Resolves with the page. */
export async function fetchDecrypted(stage: Stage, family: Family, port: number, ...more: string[]): Promise<string> {
  const { client, server } = stage.network;
  const name = `www.${DOMAIN}`;
  const target = server.address[family];
  const to = ["--resolve", `${name}:${port}:${family === 6 ? `[${target}]` : target}`, `https://${name}:${port}/`];
  return client.must("curl", ["-sS", "--fail", "-m", "20", "--cacert", stage.node.authorities, ...more, ...to]);
}

function findsTls(family: Family, port: number): Claim {
  return {
    says: `IPv${family}: TLS on port ${port} is decrypted, with HTTP/1.1 and with HTTP/2`,
    async check(stage) {
      const pages = [];
      for (const [option, version] of [
        ["--http1.1", "HTTP/1.1"],
        ["--http2", "HTTP/2.0"],
      ] as const) {
        const page = await fetchDecrypted(stage, family, port, option);
        assert.match(page, new RegExp(` ${version} ${stage.network.client.address[family]}`));
        pages.push(page.trim());
      }
      return pages.join(", ");
    },
  };
}

function speaks(version: TlsVersion): Claim {
  return {
    says: `${version} is decrypted`,
    async check({ network: { client, server }, node }) {
      const name = `${version.toLowerCase().replace(".", "-")}.${DOMAIN}`;
      const to = ["-connect", `${server.address[4]}:${VERSION_PORTS[version]}`, "-servername", name];
      const trust = ["-CAfile", node.authorities, "-verify_return_error", "-verify_hostname", name];
      const args = ["s_client", ...to, OPENSSL_VERSIONS[version], ...OPENSSL_ANY, ...trust, "-brief"];
      const { code, stderr } = await client.run("openssl", args, { input: "", within: 20_000 });
      assert.equal(code, 0, stderr);
      assert.match(stderr, new RegExp(`Protocol version: ${version}\\s`));
      const session = await until(`a session of ${name}`, async () =>
        (await node.sessions({ host: name })).find(({ sni, end }) => sni === name && end !== null),
      );
      assert.equal(session.verdict, "decrypt");
      assert.equal(session.serverLeg.version, version);
      return `${session.clientLeg.version} ${session.clientLeg.suite} on both legs`;
    },
  };
}

function leavesPlaintext(family: Family): Claim {
  return {
    says: `IPv${family}: plaintext passes unchanged both ways`,
    async check({ network: { client, server }, node }) {
      const since = Date.now();
      const socket = await dial(client, { address: server.address[family], port: PORTS.echo });
      const port = socket.localPort ?? 0;
      // Printable, so that random bytes cannot look like a TLS record.
      const sent = Buffer.from(randomBytes(PLAIN_BYTES / 2).toString("hex"));
      const back = createHash("sha256");
      let length = 0;
      const over = new Promise<void>((resolve, reject) => {
        socket.on("data", (chunk: Buffer) => {
          back.update(chunk);
          length += chunk.length;
        });
        socket.on("end", resolve).on("error", reject);
      });
      socket.end(sent);
      await over;
      assert.equal(length, sent.length);
      assert.equal(back.digest("hex"), createHash("sha256").update(sent).digest("hex"));
      const session = await until("the session's end", async () => {
        const found = await node.sessionFrom(port, since);
        return found.end !== null && found;
      });
      assert.equal(session.protocol, "other");
      return `${length} bytes each way, the same SHA-256`;
    },
  };
}

function serverFirst(family: Family): Claim {
  return {
    says: `IPv${family}: the client hears a server that speaks first before it has sent a byte`,
    async check({ network: { client, server } }) {
      const start = performance.now();
      const socket = await dial(client, { address: server.address[family], port: PORTS.who });
      const line = await nextLine(socket);
      const took = performance.now() - start;
      assert.equal(socket.bytesWritten, 0);
      socket.end();
      return `"${line}" after ${took.toFixed(0)} ms`;
    },
  };
}

function judgesRequests(family: Family): Claim {
  return {
    says: `IPv${family}: plain HTTP is judged by the host of each request, and the server sees the client's address`,
    async check({ network: { client, server }, node }) {
      const socket = await dial(client, { address: server.address[family], port: PORTS.http });
      const port = socket.localPort;
      const get = (host: string, path: string) => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
      const hosts = [`first-v${family}.${DOMAIN}`, `second-v${family}.${DOMAIN}`] as const;
      const requests = [get(hosts[0], "/1"), get(hosts[0], "/2"), get(hosts[1], "/3"), get(DROPPED, "/4")];
      socket.end(requests.join(""));
      const heard = String(Buffer.concat(await socket.toArray()));
      const address = client.address[family];
      const pages = [...heard.matchAll(/^(\S+)\/(\d) (\S+)$/gm)].map(([page]) => page);
      assert.deepEqual(pages, [`${hosts[0]}/1 ${address}`, `${hosts[0]}/2 ${address}`, `${hosts[1]}/3 ${address}`]);
      assert.match(heard, /HTTP\/1\.1 403 Forbidden/);
      const records = await until("three sessions", async () => {
        const sessions = (await node.sessions({})).filter(
          ({ client: from, protocol }) => protocol === "http" && from.port === port,
        );
        return sessions.length === 3 && sessions.map(({ connectHost, verdict }) => `${connectHost} ${verdict}`).sort();
      });
      assert.deepEqual(records, [`${DROPPED} drop`, `${hosts[0]} null`, `${hosts[1]} null`].sort());
      return records.join(", ");
    },
  };
}

function nobodySpeaks(family: Family): Claim {
  return {
    says: `IPv${family}: a silent connection is established at both ends, and its close reaches both`,
    async check({ network: { client, server }, node, servers }) {
      const since = Date.now();
      const socket = await dial(client, { address: server.address[family], port: PORTS.silent });
      const port = socket.localPort ?? 0;
      const who = `${client.address[family]} ${port}`;
      await until("the server has accepted", () => servers.accepted.get(PORTS.silent)?.includes(who));
      const { state } = await until("a session that is up", async () => {
        const found = await node.sessionFrom(port, since);
        return found.state === "EST:EST:INIT:INIT" && found;
      });
      // The server answers the FIN with its own.
      const over = new Promise((resolve) => socket.resume().on("end", resolve));
      socket.end();
      await over;
      await until("the session's end", async () => (await node.sessionFrom(port, since)).end !== null);
      return `${state}, then closed from end to end`;
    },
  };
}
