import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { utimesSync, writeFileSync } from "node:fs";
import net from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Health } from "../../src/control/api.ts";
import { checkDns } from "../../src/supervisor/doctor/dns.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { makePki } from "../pki.ts";
import { freePort, until } from "../processes.ts";

interface Checks {
  readonly status: string;
  readonly checks: readonly {
    readonly name: string;
    readonly status: string;
    readonly says: string;
    readonly remedy?: string;
  }[];
}

describe("The node's health", needs("openssl"), () => {
  let node: TestNode;
  let toolPort: number;
  before(async () => {
    const pki = await makePki();
    toolPort = await freePort();
    const address = { address: `127.0.0.1:${toolPort}`, returnAddress: `127.0.0.1:${await freePort()}` };
    const heartbeat = { period: "100ms", timeout: "100ms", retries: 2, recovery: "0s" };
    const tools = [{ name: "dlp", kind: "proxy", ...address, onFailure: "bypass", heartbeat }];
    node = await startNode({ trust: [pki.root.certificate], config: { tools, workers: 2 } });
  });
  after(async () => {
    await node?.[Symbol.asyncDispose]();
  });

  const health = async (path = "") => {
    const answer = await fetch(`${node.url}/health${path}`);
    return { code: answer.status, ...((await answer.json()) as Health) };
  };
  const doctor = async () => {
    const { code, stdout } = await node.command("doctor", "--json");
    const { status, checks } = JSON.parse(stdout) as Checks;
    return { code, status, of: (name: string) => checks.filter((one) => one.name === name) };
  };

  test("A tool that is down makes the node degraded, and one that is up makes it ready", async () => {
    const down = await until("a degraded node", async () => {
      const found = await health("/ready");
      return found.status === "degraded" && found;
    });
    assert.deepEqual([down.code, down.reasons], [200, [{ fact: "tools", status: "degraded" }]]);
    const { of } = await doctor();
    assert.match(of("tools")[0]!.says, /dlp is down.*go on without it/);
    // A tool that answers the heartbeat itself works.
    const tool = net.createServer((socket) => {
      socket.on("error", () => {}).once("data", () => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"));
    });
    await new Promise<void>((resolve) => tool.listen(toolPort, "127.0.0.1", resolve));
    await until("a ready node", async () => (await health("/ready")).status === "ready");
    tool.close();
  });

  test("The doctor finds what a running node lacks, with a remedy for each", async () => {
    const { code, status, of } = await doctor();
    const codes = { ok: 0, warning: 1, bad: 2 };
    assert.equal(code, codes[status as keyof typeof codes]);
    for (const name of ["configuration", "node", "workers", "ports", "history"]) {
      assert.deepEqual(
        of(name).map((one) => one.status),
        ["ok"],
        name,
      );
    }
    assert.match(of("authorities").at(-1)!.says, /do not trust primary-ecdsa\.pem and primary-rsa\.pem/);
    assert.match(of("authorities").at(-1)!.remedy!, /update-ca-certificates/);
    const own = await node.api<Checks>("doctor");
    const seen = ({ checks }: Checks) =>
      checks.filter(({ name }) => name !== "disk").map((one) => [one.name, one.status]);
    const { stdout } = await node.command("doctor", "--json");
    assert.deepEqual([own.status, seen(own)], [status, seen(JSON.parse(stdout))]);
    const shown = await node.command("doctor");
    assert.match(shown.stdout, /^ok {7}node {10}Version \d/m);
  });

  test("A node without a worker that accepts is failing, though it is live", async () => {
    const { workers } = await node.stats();
    for (const { pid } of workers) process.kill(pid, "SIGSTOP");
    const failing = await until("a failing node", async () => {
      const found = await health("/ready");
      return found.status === "failing" && found;
    });
    assert.deepEqual([failing.code, failing.reasons[0]], [503, { fact: "workers", status: "failing" }]);
    assert.equal((await health("/live")).code, 200);
    const { code, of } = await doctor();
    assert.deepEqual([code, of("workers").map((one) => one.status)], [2, ["bad"]]);
    for (const { pid } of workers) process.kill(pid, "SIGCONT");
    await until("workers that report", async () => !(await health()).reasons.some(({ fact }) => fact === "workers"));
  });

  test("The doctor looks at a node that does not run", async () => {
    await node.stop();
    const taken = net.createServer();
    await new Promise<void>((resolve) => taken.listen(node.proxy, "127.0.0.1", resolve));
    const { code, of } = await doctor();
    taken.close();
    assert.equal(code, 2);
    assert.deepEqual(
      of("node").map((one) => one.status),
      ["warning"],
    );
    assert.match(of("ports")[0]!.says, new RegExp(`127\\.0\\.0\\.1:${node.proxy}.*EADDRINUSE`));
    assert.match(of("tools")[0]!.says, /dlp cannot be reached.*ECONNREFUSED/);
    assert.match(of("authorities")[0]!.says, /is valid until/);
    // The clock has gone back: the node wrote its files in the future.
    utimesSync(join(node.folder, "data", "lock"), 4e9, 4e9);
    assert.equal((await doctor()).of("clock")[0]!.status, "bad");
    writeFileSync(node.file, "{ listeners: 3 }");
    const broken = await doctor();
    assert.deepEqual([broken.code, broken.of("configuration")[0]!.status], [2, "bad"]);
  });

  test("A DNS server that is silent or refuses is found, and one that answers is well", async () => {
    const server = createSocket("udp4");
    let code = 3;
    server.on("message", (question, { port, address }) => {
      const answer = Buffer.from(question);
      answer.writeUInt16BE(0x8180 | code, 2);
      server.send(answer, port, address);
    });
    await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
    const at = `127.0.0.1:${server.address().port}`;
    assert.equal((await checkDns([at])).status, "ok");
    code = 5;
    assert.match((await checkDns([at])).says, /EREFUSED/);
    const closed = `127.0.0.1:${await freePort()}`;
    assert.equal((await checkDns([closed])).status, "bad");
    assert.equal((await checkDns([])).status, "bad");
    server.close();
  });
});
