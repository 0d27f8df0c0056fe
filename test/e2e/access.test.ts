import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "node:tls";
import type { AuditList, SessionList } from "../../src/control/api.ts";
import { MAIN } from "../node.ts";
import { freePort, type Program, run, scratch, start, until } from "../processes.ts";

/** Two who use one node: its owner, by the data folder, and others, by HTTPS with tokens of their own. */
describe("Access", () => {
  const folder = scratch();
  const file = join(folder, "clearline.yaml");
  const authority = join(folder, "data/ca/primary-ecdsa.pem");
  let node: Program;
  let port: number;
  let proxy: number;

  before(async () => {
    port = await freePort();
    proxy = await freePort();
    const config = {
      dataDir: "./data",
      workers: 1,
      console: { address: `127.0.0.1:${port}`, tls: {} },
      listeners: [{ name: "proxy", mode: "explicit", address: `127.0.0.1:${proxy}` }],
    };
    writeFileSync(file, JSON.stringify(config));
    node = start(process.execPath, [MAIN, "run", "-c", file], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    });
    await until("the node's API", () => existsSync(join(folder, "data/node.json")));
  });
  after(() => node.stop());

  const owner = (...args: string[]) => run(process.execPath, [MAIN, ...args, "-c", file]);
  const other = (env: Readonly<Record<string, string>>, ...args: string[]) =>
    run(process.execPath, [MAIN, ...args], {
      env: { ...process.env, CLEARLINE_NODE: `https://localhost:${port}`, ...env },
    });
  const audited = async () => (JSON.parse((await owner("audit", "--json")).stdout) as AuditList).entries;
  const fingerprint = () =>
    new Promise<string>((resolve, reject) => {
      const socket = connect({ port, ca: readFileSync(authority), host: "127.0.0.1" }, () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      }).on("error", reject);
    });

  test("The API speaks HTTPS with a certificate of the primary CA, and the commands verify it", async () => {
    assert.match(readFileSync(join(folder, "data/node.json"), "utf8"), /BEGIN CERTIFICATE/);
    const { code, stderr, stdout } = await owner("stats");
    assert.deepEqual([code, stderr], [0, ""]);
    assert.match(stdout, /Live sessions/);
  });

  test("Another user works with a token and the CA, as far as the role goes, and not without the CA", async () => {
    const made = await owner("token", "add", "night", "--role", "viewer");
    const access = { CLEARLINE_TOKEN: made.stdout.trim(), CLEARLINE_CA: authority };
    assert.equal((await other(access, "stats")).code, 0);
    const refused = await other(access, "cache", "flush");
    assert.match(
      refused.stderr,
      /^Cannot DELETE .*needs the role operator, and the token night has the role viewer\n$/,
    );
    const stranger = await other({ CLEARLINE_TOKEN: access.CLEARLINE_TOKEN }, "stats");
    assert.match(stranger.stderr, /from a CA that is not trusted here\. Name the CA's file in CLEARLINE_CA\n$/);
    await owner("token", "remove", "night");
    assert.match((await other(access, "stats")).stderr, /does not accept the token in CLEARLINE_TOKEN/);
    assert.deepEqual([refused.code, stranger.code], [1, 1]);
  });

  test("A renewed CA signs the API's certificate anew, and the commands go on", async () => {
    const before = await fingerprint();
    assert.equal((await owner("ca", "renew", "--role", "primary")).code, 0);
    assert.notEqual(await fingerprint(), before);
    assert.equal((await owner("stats")).code, 0);
  });

  test("An operator ends a live session, and the record says so", async (context) => {
    const server = createServer((socket) => socket.on("error", () => {}).write("hello\n")).listen(0, "127.0.0.1");
    await once(server, "listening");
    const target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const client = connectTcp(proxy, "127.0.0.1").on("error", () => {});
    // It is reset, which is an error before it is closed.
    const closed = new Promise((resolve) => client.once("close", resolve));
    context.after(() => {
      client.destroy();
      server.close();
    });
    client.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    let seen = "";
    client.setEncoding("utf8").on("data", (text) => {
      seen += text;
    });
    await until("the server's greeting", () => seen.includes("hello"));
    const listed = async () => (JSON.parse((await owner("sessions", "--json")).stdout) as SessionList).sessions[0];
    const session = await until("the live session", listed);
    assert.equal((await owner("end", session.id)).stdout, `The session ${session.id} ends.\n`);
    await closed;
    const over = await until("its end", async () => (await listed())?.end !== null && listed());
    const { closeReason, cause, blame } = over;
    assert.deepEqual([closeReason, cause, blame], ["An operator ended the session", "endedByOperator", "node"]);
    assert.match((await owner("end", session.id)).stderr, /no live session has this ID\n$/);
  });

  test("A reload by signal is in the audit log, beside the changes by command", async () => {
    process.kill(node.pid, "SIGHUP");
    await until("the reload", async () =>
      (await audited()).some(({ who, outcome }) => who === "SIGHUP" && outcome === "done"),
    );
    const entries = (await audited()).map(({ who, action, subject, outcome }) =>
      [who, action, subject, outcome].join(" "),
    );
    for (const expected of [
      "owner token add night (viewer) done",
      "night cache flush  refused",
      "owner token remove night done",
      "owner ca renew primary done",
    ])
      assert.ok(entries.includes(expected), expected);
  });

  test("Without an audit log nothing changes, while the node goes on; it comes back by itself", async () => {
    const database = join(folder, "data/audit.db");
    renameSync(database, `${database}.aside`);
    mkdirSync(database);
    const { code, stderr } = await owner("cache", "flush");
    assert.match(
      stderr,
      /^Cannot do "cache flush": the audit log .* cannot be used: .*\. Nothing was changed or shown\n$/,
    );
    assert.equal(code, 1);
    process.kill(node.pid, "SIGHUP");
    await until("the refused reload", () => /Cannot reload/.test(node.output()));
    assert.equal((await owner("stats")).code, 0);
    renameSync(database, `${database}.folder`);
    renameSync(`${database}.aside`, database);
    assert.equal((await owner("cache", "flush")).code, 0);
  });

  test("No token is on disk or in the log in readable form", async () => {
    const { stdout } = await owner("token", "add", "kept", "--role", "operator");
    const token = stdout.trim();
    for (const text of [readFileSync(join(folder, "data/tokens.json"), "utf8"), node.output()])
      assert.ok(!text.includes(token));
    assert.match(node.output(), /owner: token add kept \(operator\): done/);
  });
});
