import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { freePort, must, run, scratch, start, until } from "./processes.ts";

/** What `npm install -g` of the packed project gives: the packages that it needs are the checkout's here. */
describe("The npm package", () => {
  const folder = scratch();
  const home = join(folder, "lib/node_modules/clearline");
  const env = {
    ...process.env,
    PATH: `${folder}/bin:/usr/bin:/bin`,
    NODE_TEST_CONTEXT: undefined,
    NODE_OPTIONS: undefined,
  };
  let content: string;

  before(async () => {
    mkdirSync(home, { recursive: true });
    mkdirSync(join(folder, "bin"));
    const [packed] = JSON.parse(await must("npm", ["pack", "--json", "--pack-destination", folder]));
    const tarball = join(folder, packed.filename);
    content = await must("tar", ["tzf", tarball]);
    await must("tar", ["xzf", tarball, "-C", home, "--strip-components=1"]);
    symlinkSync(join(process.cwd(), "node_modules"), join(home, "node_modules"));
    symlinkSync("../lib/node_modules/clearline/bin/clearline", join(folder, "bin/clearline"));
  });

  test("holds the program as JavaScript, its licence and its service, and no test or secret", () => {
    for (const name of [
      "bin/clearline",
      "dist/cli/main.js",
      "dist/worker/main.js",
      "LICENSE",
      "packaging/clearline.service",
    ])
      assert.ok(content.includes(`package/${name}\n`), name);
    assert.doesNotMatch(content, /\.ts$|\.test\.|test-|node_modules|\.(?:pem|key)$/m);
  });

  test("puts clearline on PATH, which runs from any folder on the Node that came with it", async () => {
    const { code, stdout } = await run("clearline", ["--version"], { cwd: folder, env });
    assert.deepEqual([code, stdout], [0, `${JSON.parse(readFileSync("package.json", "utf8")).version}\n`]);
    const lab = await run("clearline", ["lab"], { cwd: folder, env });
    assert.deepEqual(
      [lab.code, lab.stderr],
      [2, "Cannot start the lab: an installed package does not have it. In a checkout: npm run lab\n"],
    );
  });

  test("runs a node with its workers", async () => {
    const file = join(folder, "clearline.yaml");
    const [proxy, port] = [await freePort(), await freePort()];
    const config = {
      dataDir: "./data",
      workers: 1,
      console: { address: `127.0.0.1:${port}` },
      listeners: [{ name: "proxy", mode: "explicit", address: `127.0.0.1:${proxy}` }],
    };
    writeFileSync(file, JSON.stringify(config));
    const node = start("clearline", ["run", "-c", file], { cwd: folder, env });
    try {
      await until("the node", () => /^Clearline runs/m.test(node.output()));
      const { stdout } = await run("clearline", ["stats", "-c", file], { cwd: folder, env });
      assert.match(stdout, /^Live sessions +0 /m);
    } finally {
      await node.stop();
    }
  });
});
