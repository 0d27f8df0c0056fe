import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl, type Way } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { until } from "../processes.ts";

/** Lists as people take them over from DNS filters: long, and changed often. */
describe("A long list", needs("curl", "nginx-light"), () => {
  let pki: Pki;
  let web: Nginx;
  let node: TestNode;
  const HOSTS = Array.from({ length: 50_000 }, (_, index) => `host-${index}.${DOMAIN}`);
  const ADDRESSES = Array.from({ length: 5_000 }, (_, index) => `198.18.${index >> 8}.${index & 255}`);
  const way = (): Way => ({ port: node.forward("web") });
  const policy = { lists: { bypass: ["./bypass.txt"] } };
  const write = (...more: string[]) =>
    writeFileSync(join(node.folder, "bypass.txt"), [...HOSTS, ...ADDRESSES, ...more, ""].join("\n"));

  before(async () => {
    pki = await makePki();
    web = await nginx(pki.server.ecdsa);
    node = await startNode({
      trust: [pki.root.certificate],
      forwards: { web: web.port },
      config: { workers: 2 },
    });
    write();
    // The way to the data folder may be closed to the workers' user.
    chmodSync(node.folder, 0o700);
    node.rewrite({ workers: 2, policy });
    const { code, stderr } = await node.command("reload");
    assert.equal(code, 0, stderr);
  });
  after(async () => {
    await node?.stop();
    await web?.process.stop();
  });

  /** The names of the tables that a worker has mapped to read. */
  const mappingsOf = (pid: number) =>
    [...readFileSync(`/proc/${pid}/maps`, "utf8").matchAll(/ r--s .*\/data\/lists\/(\S+)$/gm)].map(([, name]) => name);
  /** Whether a session of this host is bypassed: then the client is shown the server's own certificate. */
  const isBypassed = async (name: string) => {
    const { code } = await curl(way(), pki.root.certificate, [`https://${name}/negotiated`]);
    return code === 0;
  };

  test("Its first and its last entry decide, and what is not in it does not", async () => {
    const asked = [HOSTS[0]!, HOSTS.at(-1)!, `host-50000.${DOMAIN}`, `x${HOSTS[0]}`];
    assert.deepEqual(await Promise.all(asked.map(isBypassed)), [true, true, false, false]);
  });

  test("All workers map one file, which only the supervisor may write", async () => {
    const folder = join(node.folder, "data/lists");
    const [name = "", ...more] = readdirSync(folder);
    assert.deepEqual(more, []);
    const { workers } = await node.stats();
    for (const { pid } of workers) assert.deepEqual(mappingsOf(pid), [name]);
    for (const path of [folder, join(folder, name)]) {
      const { uid, mode } = statSync(path);
      assert.deepEqual([uid, mode & 0o027], [process.geteuid?.(), 0]);
    }
  });

  test("A reload puts another file in its place, for new sessions", async () => {
    const [former = ""] = readdirSync(join(node.folder, "data/lists"));
    write(`added.${DOMAIN}`);
    assert.equal(await isBypassed(`added.${DOMAIN}`), false);
    const { stdout } = await node.command("reload");
    assert.match(stdout, /The policy changed/);
    assert.equal(await isBypassed(`added.${DOMAIN}`), true);
    const [name, ...more] = readdirSync(join(node.folder, "data/lists"));
    assert.deepEqual([name === former, more], [false, []]);
    assert.doesNotMatch((await node.command("reload")).stdout, /The policy changed/);
  });

  test("A worker that is started again has it too, although somebody has removed the compiled list", async () => {
    const folder = join(node.folder, "data/lists");
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
    const [first] = (await node.stats()).workers;
    process.kill(first!.pid, "SIGKILL");
    const again = await until("the worker to start again", async () =>
      (await node.stats()).workers.find(({ id, pid, engine }) => id === first!.id && pid !== first!.pid && engine),
    );
    assert.equal(mappingsOf(again.pid).length, 1);
    assert.deepEqual(await Promise.all(HOSTS.slice(0, 8).map(isBypassed)), Array(8).fill(true));
  });

  test("A mistake far down in it is told with its line, and changes nothing", async () => {
    write("not a host");
    const { code, stderr } = await node.command("reload");
    assert.equal(code, 2);
    assert.match(stderr, /bypass\.txt:55001: "not a host" is neither an address, a subnet, a range nor a host name/);
    assert.equal(await isBypassed(HOSTS[0]!), true);
  });
});
