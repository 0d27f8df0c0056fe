import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { gzipSync } from "node:zlib";
import { WebSocket, WebSocketServer } from "ws";
import type { AuditList, ShownToken, TransactionInfo, TransactionList } from "../../src/control/api.ts";
import { curl } from "../clients.ts";
import { assertHar } from "../har.ts";
import { needs, program } from "../needs.ts";
import { descendants, startNode, type TestNode } from "../node.ts";
import { DOMAIN, makePki } from "../pki.ts";
import { must, start, until } from "../processes.ts";

const { skip } = needs("openssl", "curl", "tshark");
const isRoot = process.getuid?.() === 0;

describe("The HTTP view", { skip }, () => {
  let node: TestNode;
  let origin: http2.Http2SecureServer;

  before(async () => {
    const pki = await makePki();
    const { key, certificate } = pki.server.ecdsa;
    const material = { key: readFileSync(key), cert: readFileSync(certificate) };
    origin = http2.createSecureServer({ ...material, allowHTTP1: true }, (request, response) => {
      const body = JSON.stringify({ path: request.url, escape: "\u001b[2J" });
      response.setHeader("content-type", "application/json");
      response.setHeader("content-encoding", "gzip");
      if (request.url === "/slow") response.write(gzipSync("begun "));
      else request.resume().on("end", () => response.end(gzipSync(body)));
    });
    const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 0 } });
    origin.on("upgrade", (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head, (opened) =>
        opened.on("message", (message) => opened.send(`echo ${message}`)),
      ),
    );
    origin.listen(0, "127.0.0.1");
    await once(origin, "listening");
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: (origin.address() as AddressInfo).port },
      config: { feeds: [{ name: "view", kind: "http", directory: "./lines", rules: ["default"] }] },
    });
  });
  after(async () => {
    origin?.close();
    await node?.stop();
  });

  const visit = async (host: string, path: string, ...more: string[]) => {
    const url = `https://${host}.${DOMAIN}${path}`;
    const { code, stderr } = await curl({ port: node.forward("web") }, node.primary, [...more, url]);
    assert.equal(code, 0, stderr);
    return transaction(host);
  };
  /** The transaction with this host, once it is over. */
  const transaction = (host: string): Promise<TransactionInfo> =>
    until(`a transaction of ${host}`, async () => {
      const list = await node.api<TransactionList>(`transactions?host=${host}.${DOMAIN}`);
      return list.transactions.find(({ state }) => state !== "open") ?? false;
    });
  const command = async (...args: string[]) => {
    const { code, stdout, stderr } = await node.command(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };

  test("a body over HTTP/2 is read with two commands, and nothing in it reaches a terminal", async () => {
    const { session, url, version, status, responseEncoding } = await visit(
      "two",
      "/json?a=1",
      "--http2",
      "-d",
      "sent=1",
    );
    assert.deepEqual([url, version, status], [`https://two.${DOMAIN}/json?a=1`, "HTTP/2", 200]);
    assert.equal(responseEncoding, "gzip");
    assert.match(await command("transactions", "--host", `two.${DOMAIN}`), new RegExp(`${session} .* 200 .*/json`));
    const told = await command("follow", session);
    assert.match(told, /#1 > POST \/json\?a=1 HTTP\/2\n[\s\S]*sent=1[\s\S]*#1 < HTTP\/2 200 OK\n/);
    assert.match(told, /\{"path":"\/json\?a=1","escape":"\\u001b\[2J"\}/);
    const folder = join(node.folder, "lines");
    await until("a line", () =>
      readdirSync(folder).some((name) => readFileSync(join(folder, name), "utf8").includes(session)),
    );
  });

  test("HAR is valid, with bodies on request, and the file is the user's alone", async () => {
    const { session } = await visit("har", "/har", "--http1.1");
    const file = join(node.folder, "out.har");
    await command("har", session, "--bodies", "-o", file);
    const har = JSON.parse(readFileSync(file, "utf8"));
    assertHar(har);
    assert.equal(har.log.entries[0].response.content.text, '{"path":"/har","escape":"\\u001b[2J"}');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const plain = JSON.parse(await command("har", "--host", `har.${DOMAIN}`));
    assertHar(plain);
    assert.equal(plain.log.entries[0].response.content.text, undefined);
  });

  test("tshark reads a session as HTTP/2", async () => {
    const { session } = await visit("pcap", "/packets", "--http2");
    const file = join(node.folder, "one.pcapng");
    await command("pcap", session, "-o", file);
    const seen = await must(program("tshark"), [
      "-r",
      file,
      "-T",
      "fields",
      "-e",
      "http2.headers.path",
      "-e",
      "http2.body.reassembled.data",
    ]);
    assert.match(seen, /\/packets/);
  });

  test("a WebSocket's messages are read through TLS, compressed as they were", async () => {
    const plain = net.connect(node.forward("web"), "127.0.0.1");
    const servername = `socket.${DOMAIN}`;
    const secure = tls.connect({
      socket: plain,
      servername,
      ca: readFileSync(node.primary),
      ALPNProtocols: ["http/1.1"],
    });
    const socket = new WebSocket(`wss://${servername}/chat`, { createConnection: () => secure });
    await once(socket, "open");
    socket.send("hello");
    await once(socket, "message");
    socket.close(1000);
    const { session, status, messages } = await transaction("socket");
    assert.deepEqual([status, messages], [101, { client: 1, server: 1 }]);
    assert.match(await command("follow", session), /#1 > hello\n#1 < echo hello\n/);
  });

  test("a session is followed while it goes on", async () => {
    const session = http2.connect(`https://live.${DOMAIN}:443`, {
      createConnection: () =>
        tls.connect({
          port: node.forward("web"),
          servername: `live.${DOMAIN}`,
          ca: readFileSync(node.primary),
          ALPNProtocols: ["h2"],
        }),
    });
    session.on("error", () => {});
    const stream = session.request({ ":path": "/slow" });
    stream.on("error", () => {});
    const open = await until("the open transaction", async () => {
      const { transactions } = await node.api<TransactionList>(`transactions?host=live.${DOMAIN}`);
      return transactions.find(({ status }) => status === 200) ?? false;
    });
    assert.equal(open.state, "open");
    const follower = start(process.execPath, [
      join(import.meta.dirname, "../../src/cli/main.ts"),
      "follow",
      open.session,
      "-c",
      node.file,
    ]);
    await until("the part that was sent", () => follower.output().includes("begun "));
    stream.close();
    await follower.shows(/#1: reset by the client: NO_ERROR/);
    session.destroy();
    await follower.shows(/the session has ended/);
    assert.equal((await follower.ended).code, 0);
  });

  test("only an operator looks at plaintext, and each look is on record", async () => {
    const { session } = await visit("audit", "/audit");
    const viewer = await node.api<ShownToken>("tokens", "POST", { name: "wall", role: "viewer" });
    for (const path of [
      "transactions",
      "har",
      `sessions/${session}/har`,
      `sessions/${session}/pcap`,
      `sessions/${session}/follow`,
    ]) {
      const answer = await fetch(`${node.url}/${path}`, { headers: { authorization: `Bearer ${viewer.token}` } });
      assert.equal(answer.status, 403, path);
      await answer.body?.cancel();
    }
    await command("follow", session);
    const { entries } = await node.api<AuditList>("audit?limit=200");
    const looks = entries
      .filter(({ subject }) => subject === session)
      .map(({ who, action, outcome }) => `${who} ${action} ${outcome}`);
    for (const look of ["wall view pcap refused", "owner view follow done"]) assert.ok(looks.includes(look), look);
    const { code, stderr } = await node.command("follow", "nobody-knows");
    assert.deepEqual([code, /the HTTP view does not hold it/.test(stderr)], [1, true]);
  });

  test("it runs as the workers' user, and is started again when it dies, while sessions go on", async () => {
    const before = viewOf(node);
    if (isRoot)
      assert.equal(
        statSync(`/proc/${before}`).uid,
        statSync(`/proc/${descendants(node.process.pid).find((pid) => pid !== before)}`).uid,
      );
    process.kill(before, "SIGKILL");
    const { code, stderr } = await curl({ port: node.forward("web") }, node.primary, [`https://meanwhile.${DOMAIN}/x`]);
    assert.equal(code, 0, stderr);
    await until("the view is there again", async () => {
      await curl({ port: node.forward("web") }, node.primary, [`https://again.${DOMAIN}/again`]);
      const list = await node.api<TransactionList>(`transactions?host=again.${DOMAIN}`).catch(() => undefined);
      return (list?.transactions.length ?? 0) > 0;
    });
    assert.notEqual(viewOf(node), before);
  });

  test("a reload ends it, and begins it again", async () => {
    const feeds = [{ name: "view", kind: "http" }];
    node.rewrite({ feeds: [] });
    await command("reload");
    const { code, stderr } = await node.command("transactions");
    assert.deepEqual([code, /no feed has the kind http/.test(stderr)], [2, true]);
    node.rewrite({ feeds });
    await command("reload");
    await until("the view's feed", async () => (await node.stats()).feeds.every(({ state }) => state === "running"));
    assert.equal((await visit("reloaded", "/reloaded")).status, 200);
    node.rewrite({});
    await command("reload");
  });
});

function viewOf(node: TestNode): number {
  return (
    descendants(node.process.pid).find((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("view/main.ts");
      } catch {
        return false;
      }
    }) ?? 0
  );
}
