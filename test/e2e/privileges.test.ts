import assert from "node:assert/strict";
import { chownSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { curl } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { descendants, MAIN, startNode } from "../node.ts";
import { type Nginx, nginx } from "../peers.ts";
import { DOMAIN, makePki, type Pki } from "../pki.ts";
import { freePort, must, type Program, scratch, start } from "../processes.ts";

const INTRUDER = new URL("../programs/intruder.py", import.meta.url).pathname;
const NOBODY = 65_534;
const root = process.getuid?.() === 0;

describe("A worker that was taken over", () => {
  const wants = needs("openssl", "nginx-light", "curl", "python3");
  const options = { skip: root ? wants.skip : "needs root, to change users" };
  let pki: Pki;
  let origin: Nginx;

  before(async () => {
    if (options.skip !== false) return;
    pki = await makePki();
    origin = await nginx(pki.server.ecdsa);
  });
  after(() => origin?.process.stop());

  test(
    "reaches neither the supervisor nor another worker nor the data folder, where root starts the node",
    options,
    async () => {
      await using node = await startNode({
        trust: [pki.root.certificate],
        forwards: { web: origin.port },
        config: {
          feeds: [
            { name: "archive", kind: "pcapng", directory: "./captures" },
            { name: "keys", kind: "keylog", file: "./tls.log" },
          ],
        },
      });
      const visit = (host: string) => curl({ port: node.forward("web") }, node.primary, [`https://${host}.${DOMAIN}/`]);
      assert.equal((await visit("before")).code, 0);

      const supervisor = node.process.pid;
      const workers = descendants(supervisor);
      assert.equal(workers.length, 2);
      const [uid] = workers.map(userOf);
      assert.notEqual(uid, 0);
      for (const pid of workers) assert.deepEqual(rightsOf(pid), [`${uid} ${uid} ${uid} ${uid}`, NET_BIND_SERVICE]);

      const outcomes = await intrude(uid!, supervisor, workers[0]!, join(node.folder, "data"));
      // The signal arrives and opens no debugger.
      assert.equal(outcomes["debugger of the worker"], "done");
      assert.deepEqual(succeeded(outcomes), ["debugger of the worker"]);

      // As root every attempt succeeds, so it is the rights that others lack.
      const asRoot = await intrude(0, supervisor, workers[0]!, join(node.folder, "data"));
      assert.deepEqual(
        Object.entries(asRoot).filter(([, outcome]) => outcome !== "done"),
        [],
      );

      node.rewrite({ feeds: [{ name: "ids", kind: "interface", interface: "mon0" }] });
      const { code, stderr } = await node.command("reload");
      assert.equal(code, 2, stderr);
      assert.match(stderr, /Cannot reload: feeds\[0\] is new, and it needs CAP_NET_RAW, which the workers gave up /);
      node.rewrite({});

      assert.equal((await visit("after")).code, 0);
      assert.deepEqual(descendants(supervisor), workers);
      await node.stop();
      const captures = readdirSync(node.captures);
      assert.ok(captures.length > 0);
      for (const file of captures.map((name) => join(node.captures, name))) assert.equal(statSync(file).uid, uid);
      assert.match(readFileSync(join(node.folder, "tls.log"), "utf8"), /CLIENT_/);
    },
  );

  test("reaches neither, where a service has its own user and may change it", options, async () => {
    const { node, folder } = await startAsNobody(["setuid", "setgid", "chown", "kill", "net_bind_service"]);
    try {
      const workers = descendants(node.pid);
      assert.equal(userOf(node.pid), NOBODY);
      const [uid] = workers.map(userOf);
      for (const pid of workers) assert.deepEqual(rightsOf(pid), [`${uid} ${uid} ${uid} ${uid}`, NET_BIND_SERVICE]);
      assert.notEqual(uid, NOBODY);
      const outcomes = await intrude(uid!, node.pid, workers[0]!, join(folder, "own/data"));
      assert.deepEqual(succeeded(outcomes), ["debugger of the worker"]);
      assert.equal((await node.stop()).code, 0, node.output());
    } finally {
      await node.stop("SIGKILL");
    }
  });

  test("reaches no memory, but files, where the node has one user", options, async () => {
    const { node, folder } = await startAsNobody([]);
    try {
      const workers = descendants(node.pid);
      for (const pid of [node.pid, ...workers]) assert.equal(userOf(pid), NOBODY);
      const outcomes = await intrude(NOBODY, node.pid, workers[0]!, join(folder, "own/data"));
      const reached = succeeded(outcomes);
      const memory = ["mem", "environ", "descriptors", "trace", "process_vm_readv", "pidfd_getfd"];
      assert.deepEqual(
        Object.keys(outcomes).filter((name) => !reached.includes(name)),
        ["supervisor", "worker"].flatMap((whose) => memory.map((part) => `${part} of the ${whose}`)),
      );
      assert.deepEqual(descendants(node.pid), workers);
      assert.equal((await node.stop()).code, 0, node.output());
      assert.doesNotMatch(node.output(), /Debugger/);
    } finally {
      await node.stop("SIGKILL");
    }
  });
});

/** A node of an ordinary user with these capabilities, as a service manager starts it. */
async function startAsNobody(capabilities: readonly string[]): Promise<{ node: Program; folder: string }> {
  const folder = scratch();
  mkdirSync(join(folder, "own"));
  chownSync(join(folder, "own"), NOBODY, NOBODY);
  const file = join(folder, "clearline.yaml");
  const configuration = {
    dataDir: "./own/data",
    workers: 2,
    console: { address: `127.0.0.1:${await freePort()}` },
    listeners: [{ name: "proxy", mode: "explicit", address: `127.0.0.1:${await freePort()}` }],
  };
  writeFileSync(file, JSON.stringify(configuration)); // YAML is a superset of JSON
  const user = ["--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups"];
  const sets = ["inh", "ambient"].map((set) => `--${set}-caps=${["-all", ...capabilities.map((one) => `+${one}`)]}`);
  const node = start("setpriv", [...user, ...sets, process.execPath, MAIN, "run", "-c", file], { cwd: folder });
  await node.shows(/Clearline runs with/, 120_000);
  return { node, folder };
}

describe("workerUser", { skip: !root && "needs root, to change users" }, () => {
  const refusals: [title: string, workerUser: string | number, why: RegExp][] = [
    [
      "a user that does not exist",
      "no-such-user",
      /:1:13: .*workerUser is "no-such-user": this machine has no such user/,
    ],
    ["a number that no user can have", 4_294_967_295, /:1:13: workerUser .*/],
  ];
  for (const [title, workerUser, why] of refusals) {
    test(`refuses ${title}`, async () => {
      const file = join(scratch(), "clearline.yaml");
      const listeners = `[{ name: p, mode: explicit, address: "127.0.0.1:${await freePort()}" }]`;
      writeFileSync(file, `workerUser: ${workerUser}\nlisteners: ${listeners}\ndataDir: ./data\n`);
      const program = start(process.execPath, [MAIN, "run", "-c", file]);
      const { code, stderr } = await program.ended;
      assert.equal(code, 2, stderr);
      assert.match(stderr, why);
    });
  }

  test("leaves the workers able to write core files where limits.cores says so", async () => {
    await using node = await startNode({ trust: [], config: { limits: { cores: true } } });
    for (const pid of [node.process.pid, ...descendants(node.process.pid)]) {
      // Of a process that may write none, and that nobody may trace, the kernel gives these files to root.
      assert.equal(statSync(`/proc/${pid}/environ`).uid, userOf(pid));
    }
    await node.stop();
  });

  test("decides what becomes of feeds in a folder that the workers' user may not enter", async () => {
    const closed = join(scratch(), "closed");
    mkdirSync(closed, 0o700);
    const feeds = [{ name: "archive", kind: "pcapng", directory: join(closed, "captures") }];
    await using node = await startNode({ trust: [], config: { feeds } });
    for (const pid of descendants(node.process.pid)) assert.equal(userOf(pid), 0);
    assert.match(node.process.output(), /The workers run as the node's own user, .* it may not enter .*closed/);
    await node.stop();

    node.rewrite({ feeds, workerUser: 65_530 });
    const { code, stderr } = await start(process.execPath, [MAIN, "run", "-c", node.file], { cwd: node.folder }).ended;
    assert.equal(code, 2, stderr);
    assert.match(stderr, /Cannot give the workers' user 65530 what feeds\[0\]\.directory names/);
  });

  test("keeps the workers the node's own user when it is that", async () => {
    await using node = await startNode({ trust: [], config: { workerUser: "root" } });
    for (const pid of descendants(node.process.pid)) assert.equal(userOf(pid), 0);
    await node.stop();
  });
});

/** CAP_NET_BIND_SERVICE alone, as /proc/PID/status writes it. */
const NET_BIND_SERVICE = "0000000000000400";

/** What each thread of the process may do, once for all: its users, and its capabilities. */
function rightsOf(pid: number): string[] {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) =>
    readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8"),
  );
  const of = (name: string) => threads.map((status) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "");
  const users = new Set(of("Uid").map((ids) => ids.replaceAll("\t", " ")));
  const permitted = new Set(of("CapPrm").filter((mask) => !/^0+$/.test(mask)));
  return [...users, ...permitted];
}

function userOf(pid: number): number {
  return Number(/^Uid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

async function intrude(
  uid: number,
  supervisor: number,
  worker: number,
  dataDir: string,
): Promise<Record<string, string>> {
  return JSON.parse(await must(program("python3"), [INTRUDER, ...[uid, supervisor, worker].map(String), dataDir]));
}

/** The attempts that the kernel did not refuse. */
function succeeded(outcomes: Record<string, string>): string[] {
  return Object.entries(outcomes).flatMap(([name, outcome]) => (["EPERM", "EACCES"].includes(outcome) ? [] : [name]));
}
