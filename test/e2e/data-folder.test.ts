import assert from "node:assert/strict";
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { MAIN, startNode } from "../node.ts";
import { freePort, run, scratch, start } from "../processes.ts";

describe("One data folder", () => {
  test("is one node's: a second node is refused until the first has ended, also by SIGKILL", async () => {
    await using node = await startNode({ trust: [] });
    const file = await another(node.folder);
    const second = await run(process.execPath, [MAIN, "run", "-c", file]);
    assert.equal(second.code, 2, second.stderr);
    const since = String.raw`\d{4}-\d\d-\d\dT[\d:.]+Z`;
    assert.match(
      second.stderr,
      new RegExp(
        `second\\.yaml:1:\\d+: Cannot use the folder ${node.folder}/data \\(dataDir\\): another node, process ${node.process.pid}, has used it since ${since}; stop that node, or give this one its own dataDir\n$`,
      ),
    );
    // The first one is as it was.
    assert.equal((await node.command("stats")).code, 0);
    const { pid } = JSON.parse(readFileSync(join(node.folder, "data/lock"), "utf8"));
    assert.equal(pid, node.process.pid);

    rmSync(join(node.folder, "data/lock"));
    const third = await run(process.execPath, [MAIN, "run", "-c", file]);
    assert.equal(third.code, 2, third.stderr);
    assert.match(third.stderr, /\(dataDir\): another node uses it; stop that node/);

    await node.process.stop("SIGKILL");
    const next = start(process.execPath, [MAIN, "run", "-c", file]);
    await next.shows(/Clearline runs with/, 120_000);
    assert.equal((await next.stop()).code, 0, next.output());
  });

  test("is refused before anything of it is read or made when a folder in it leads elsewhere", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "data"), { mode: 0o700 });
    mkdirSync(join(folder, "elsewhere"));
    symlinkSync(join(folder, "elsewhere"), join(folder, "data/ca"));
    const { code, stderr } = await run(process.execPath, [MAIN, "run", "-c", await another(folder)]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, /second\.yaml:1:\d+: Cannot use the folder .*\/data\/ca: it is a symbolic link; /);
  });
});

describe("A full disk", { skip: process.getuid?.() !== 0 && "needs root, to mount a small file system" }, () => {
  test("at the start gives an exit code with which the service manager tries again", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "data"), { mode: 0o700 });
    const file = await another(folder);
    // `$2`: pages that are left.
    const script = [
      'mount -t tmpfs -o size=1m,mode=700 none "$1"',
      'head -c 2000000 /dev/zero > "$1/ballast" 2>/dev/null; truncate -s -$(($2 * 4096)) "$1/ballast"',
      'shift 2 && exec "$@"',
    ].join("; ");
    for (const room of [0, 1, 12]) {
      const inMount = ["-m", "sh", "-c", script, "sh", join(folder, "data"), String(room)];
      const { code, stderr } = await run("unshare", [...inMount, process.execPath, MAIN, "run", "-c", file]);
      assert.equal(code, 75, `with room for ${room} pages: ${stderr}`);
    }
  });

  test("costs no CA: ca renew changes nothing, says why, and works once there is room", async () => {
    const folder = scratch();
    mkdirSync(join(folder, "data"), { mode: 0o700 });
    const script = 'mount -t tmpfs -o size=16m,mode=700 none "$1" && shift && exec "$@"';
    const file = await another(folder);
    const inMount = ["-m", "sh", "-c", script, "sh", join(folder, "data"), process.execPath, MAIN, "run", "-c", file];
    const node = start("unshare", inMount);
    try {
      await node.shows(/Clearline runs with/, 120_000);
      // The node has that file system, and this test has not.
      const data = `/proc/${node.pid}/root${folder}/data`;
      const renew = () => run(process.execPath, [MAIN, "ca", "renew", "--role", "primary", "-c", inside]);
      const inside = join(folder, "inside.yaml");
      writeFileSync(inside, readFileSync(file, "utf8").replace("./data", data));
      const files = () =>
        readdirSync(join(data, "ca")).map((name) => [name, readFileSync(join(data, "ca", name), "utf8")] as const);
      const before = files();

      for (const room of [0, 1, 2, 3, 5]) {
        fill(join(data, "ballast"), room);
        const { code, stderr } = await renew();
        assert.notEqual(code, 0, `with room for ${room} pages`);
        // The audit log comes first, and needs room too.
        assert.match(stderr, /Cannot write .*: no space left|the audit log .* cannot be used: .* Nothing was changed/);
        assert.deepEqual(files(), before);
      }
      rmSync(join(data, "ballast"));
      const { code, stderr } = await renew();
      assert.equal(code, 0, stderr);
      const after = new Map(files());
      for (const [name, text] of before) {
        if (!name.startsWith("primary")) assert.equal(after.get(name), text);
        else assert.notEqual(after.get(name), text);
      }
      assert.equal([...after.keys()].filter((name) => name.includes(".old-")).length, 4);
      assert.match(node.output(), /Made a primary CA with an ECDSA key/);
      assert.match(
        node.output(),
        /"sha256":"[0-9a-f]{64}","msg":"Made a new primary CA, which replaces the one before"/,
      );
      assert.equal((await node.stop()).code, 0, node.output());
    } finally {
      await node.stop("SIGKILL");
    }
  });
});

/** Fills the file system of this file but for so many pages. The node writes there too, so only a write tells what is free. */
function fill(file: string, pages: number): void {
  const descriptor = openSync(file, "w");
  const { blocks, bsize } = statfsSync(dirname(file));
  const chunk = Buffer.alloc(64 * bsize);
  try {
    for (let written = 0; written <= blocks * bsize; ) written += writeSync(descriptor, chunk);
  } catch (error) {
    assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
  }
  ftruncateSync(descriptor, Math.max(0, fstatSync(descriptor).size - pages * bsize));
  closeSync(descriptor);
}

/** A configuration with other ports and the data folder of the first. */
async function another(folder: string): Promise<string> {
  const file = join(folder, "second.yaml");
  const configuration = {
    dataDir: "./data",
    workers: 1,
    console: { address: `127.0.0.1:${await freePort()}` },
    listeners: [{ name: "proxy", mode: "explicit", address: `127.0.0.1:${await freePort()}` }],
  };
  writeFileSync(file, JSON.stringify(configuration)); // YAML is a superset of JSON
  return file;
}
