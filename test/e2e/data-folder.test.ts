import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
