import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import type { Session } from "../../src/control/api.ts";
import { connectThrough, curl, nextChunk, readAll } from "../clients.ts";
import { needs } from "../needs.ts";
import { descendants, MAIN, startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { freePort, start, until } from "../processes.ts";

describe("The node's processes", needs("openssl", "nginx-light", "curl"), () => {
  let pki: Pki;
  let origin: Nginx;
  let echoPort: number;
  const echo = net.createServer((socket) => void socket.on("error", () => socket.destroy()).pipe(socket));

  before(async () => {
    pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
    await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
    echoPort = (echo.address() as net.AddressInfo).port;
  });
  after(async () => {
    await origin?.process.stop();
    echo.close();
  });

  const feeds = [{ name: "archive", kind: "pcapng", directory: "./captures", flows: ["decrypted", "notTls"] }];
  const newNode = () => startNode({ trust: [pki.root.certificate], forwards: { web: origin.port }, config: { feeds } });

  /** Opens plain echo connections through the proxy until each worker carries one. Resolves with one for each worker. */
  async function oneInEachWorker(node: TestNode): Promise<Map<number, net.Socket>> {
    const found = new Map<number, net.Socket>();
    for (let tries = 0; found.size < 2; tries++) {
      assert.ok(tries < 64, "the kernel gave all connections to one worker");
      const { socket } = await connectThrough(node.proxy, `127.0.0.1:${echoPort}`);
      socket.on("error", () => undefined);
      const port = socket.localPort;
      const session = await until("the session", async () =>
        (await node.sessions({ live: "true" })).find(({ client }) => client.port === port),
      );
      if (found.has(session.worker)) socket.destroy();
      else found.set(session.worker, socket);
    }
    return found;
  }

  test("A worker that is killed is started again, and the other workers' sessions live", async () => {
    await using node = await newNode();
    const sockets = await oneInEachWorker(node);
    const [victim, other] = (await node.stats()).workers;
    const before = await totals(node);
    const lost = sockets.get(victim!.id)!;
    const kept = sockets.get(other!.id)!;
    // Were it an end, what came before could look complete.
    const reset = assert.rejects(readAll(lost), { code: "ECONNRESET" });
    const port = lost.localPort;
    process.kill(victim!.pid, "SIGKILL");
    await reset;
    lost.destroy();

    kept.write("still here");
    assert.equal((await nextChunk(kept))?.toString(), "still here");
    const record = await until("the end of the lost session", async () =>
      (await node.sessions({ live: "false" })).find(({ client }) => client.port === port),
    );
    assert.match(record.closeReason ?? "", /worker/i);

    await until("a new worker", async () => {
      const again = (await node.stats()).workers.find(({ id }) => id === victim!.id);
      return (
        again !== undefined && again.restarts === 1 && again.pid !== victim!.pid && existsSync(`/proc/${again.pid}`)
      );
    });
    const after = await totals(node);
    const fallen = [...before].filter(([name, value]) => !((after.get(name) ?? -1) >= value));
    assert.deepEqual(fallen, [], "counters that fell");
    // Both workers accept again: none of many connections hangs.
    const ends = Array.from({ length: 16 }, (_, at) =>
      curl({ port: node.forward("web") }, node.primary, [`https://after-${at}.${DOMAIN}/negotiated`]),
    );
    for (const { code, stderr } of await Promise.all(ends)) assert.equal(code, 0, stderr);
    kept.destroy();
    await node.stop();
  });

  test("A worker that crashes is logged with what it called last, and no process may write a core file", async () => {
    await using node = await newNode();
    // A decrypted session in each of many connections: both workers have called OpenSSL.
    const visits = Array.from({ length: 16 }, (_, at) =>
      curl({ port: node.forward("web") }, node.primary, [`https://crash-${at}.${DOMAIN}/negotiated`]),
    );
    for (const { code, stderr } of await Promise.all(visits)) assert.equal(code, 0, stderr);
    for (const pid of [node.process.pid, ...descendants(node.process.pid)]) {
      assert.match(readFileSync(`/proc/${pid}/limits`, "utf8"), /^Max core file size +0 +0 /m);
    }
    const [victim] = (await node.stats()).workers;
    process.kill(victim!.pid, "SIGSEGV");
    await node.process.shows(
      /"how":"SIGSEGV","lastCall":"(?:SSL|X509)_\w+(?: on descriptor \d+)?, which had returned"/,
    );
    await until("a new worker", async () => (await node.stats()).workers.every(({ pid }) => pid !== victim!.pid));
    await node.stop();
  });

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    test(`${signal} ends the node and all its processes, with live sessions closed and on record`, async () => {
      await using node = await newNode();
      const sockets = await oneInEachWorker(node);
      const workers = descendants(node.process.pid);
      assert.equal(workers.length, 2);
      const closed = Promise.all([...sockets.values()].map(leftBy));
      const { code } = await node.process.stop(signal);
      assert.equal(code, 0, node.process.output());
      await closed;
      assert.deepEqual(
        workers.filter((pid) => existsSync(`/proc/${pid}`)),
        [],
      );
      await assert.rejects(connectThrough(node.proxy, `127.0.0.1:${echoPort}`), { code: "ECONNREFUSED" });
    });
  }

  test("The supervisor's death ends its workers", async () => {
    await using node = await newNode();
    const workers = descendants(node.process.pid);
    await node.process.stop("SIGKILL");
    await until("an end to the workers", () => workers.every((pid) => !existsSync(`/proc/${pid}`)));
  });

  test("A live session is on record from its verdict on, and its end says what is known after the node's death", async () => {
    await using node = await newNode();
    const { socket } = await connectThrough(node.proxy, `127.0.0.1:${echoPort}`);
    socket.on("error", () => undefined);
    const port = socket.localPort;
    socket.write("neither a hello nor a greeting\n");
    const live = await until("what the session is", async () =>
      (await node.sessions({ live: "true" })).find(({ client, protocol }) => client.port === port && protocol !== null),
    );
    const file = join(node.folder, "data/history.db");
    await until("the session on record", () => {
      const database = new DatabaseSync(file, { readOnly: true });
      const row = database.prepare("SELECT ended FROM sessions WHERE id = ?").get(live.id);
      database.close();
      return row !== undefined && row["ended"] === null;
    });
    await node.process.stop("SIGKILL");
    socket.destroy();

    const again = start(process.execPath, [MAIN, "run", "-c", node.file], { cwd: node.folder });
    await again.shows(/Clearline runs with/, 120_000);
    const kept = await node.api<Session>(`sessions/${live.id}`);
    assert.deepEqual(
      [kept.protocol, kept.end, kept.closeReason],
      [live.protocol, kept.lastActivity, "The node ended before this session's end was recorded"],
    );
    assert.equal((await again.stop()).code, 0);
  });

  test("The CAs, the token and the closed sessions survive a restart", async () => {
    await using node = await newNode();
    const host = `kept.${DOMAIN}`;
    const visit = () => curl({ port: node.forward("web") }, node.primary, [`https://${host}/negotiated`]);
    assert.equal((await visit()).code, 0);
    const { id, presented } = await node.session(host);
    await node.stop();

    const again = start(process.execPath, [MAIN, "run", "-c", node.file], { cwd: node.folder });
    await until("the node's health", () =>
      fetch(`${node.url}/health`).then(
        (answer) => answer.ok,
        () => false,
      ),
    );
    const kept = await node.api<Session>(`sessions/${id}`);
    assert.deepEqual([kept.sni, kept.presented], [host, presented]);
    // The client still trusts the node, because its CA is the same.
    assert.equal((await visit()).code, 0);
    assert.equal((await again.stop()).code, 0);
  });

  test("The commands find the running node after console.address changed in its file", async () => {
    await using node = await newNode();
    const file = join(node.folder, "data", "node.json");
    assert.equal(statSync(file).mode & 0o777, 0o600);
    node.rewrite({ console: { address: `127.0.0.1:${await freePort()}` } });
    for (const command of ["stats", "reload"]) {
      const { code, stderr } = await node.command(command);
      assert.equal(code, 0, stderr);
    }
    await node.stop();
    assert.ok(!existsSync(file));
    assert.equal((await node.command("stats")).code, 1);
    assert.equal((await node.command("ca", "export")).code, 0);
  });

  test("reload replaces a worker that hangs, and says so", async () => {
    await using node = await newNode();
    const sockets = await oneInEachWorker(node);
    const [victim, other] = (await node.stats()).workers;
    process.kill(victim!.pid, "SIGSTOP");
    node.rewrite({ policy: { rules: [{ name: "now", match: { host: "reloaded.test" }, action: "bypass" }] } });
    const { code, stdout, stderr } = await node.command("reload");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^The policy changed, for new sessions\nWorker \d hung or died: .*it is started again\n$/);
    await node.process.shows(/"msg":"A worker hangs; it is killed"/);
    // The other worker's session goes on.
    const kept = sockets.get(other!.id)!;
    kept.write("still here");
    assert.equal((await nextChunk(kept))?.toString(), "still here");
    await until("a new worker", async () => (await node.stats()).workers.every(({ pid }) => pid !== victim!.pid));
    for (const socket of sockets.values()) socket.destroy();
    await node.stop();
  });

  test("reload takes a new policy for new sessions, and a bad file changes nothing", async () => {
    await using node = await newNode();
    const rules = { policy: { rules: [{ name: "now", match: { host: `reloaded.${DOMAIN}` }, action: "bypass" }] } };
    node.rewrite(rules);
    const { code, stderr } = await node.command("reload");
    assert.equal(code, 0, stderr);
    await curl({ port: node.forward("web") }, pki.root.certificate, [`https://reloaded.${DOMAIN}/negotiated`]);
    const session = await node.session(`reloaded.${DOMAIN}`);
    assert.deepEqual([session.verdict, session.rule], ["bypass", "now"]);

    node.rewrite({ policy: { default: "sometimes" } });
    const refused = await node.command("reload");
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /\.yaml:\d+:\d+: policy\.default is "sometimes", not one of decrypt, bypass, drop\n$/);
    await curl({ port: node.forward("web") }, node.primary, [`https://as-before.${DOMAIN}/negotiated`]);
    assert.equal((await node.session(`as-before.${DOMAIN}`)).verdict, "decrypt");
    node.rewrite({});
    await node.stop();
  });
});

/** The node's counters by name and labels, as Prometheus reads them. */
async function totals(node: TestNode): Promise<Map<string, number>> {
  const text = await node.api<string>("../../metrics");
  const samples = text.matchAll(/^(clearline_\w+_total(?:\{.*\})?) (\S+)$/gm);
  return new Map([...samples].map(([, name, value]) => [name!, Number(value)]));
}

/** Resolves once the other side has closed or reset this half-open connection. */
async function leftBy(socket: net.Socket): Promise<void> {
  await readAll(socket).catch(() => undefined);
  socket.destroy();
}
