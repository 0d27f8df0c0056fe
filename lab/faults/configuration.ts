import assert from "node:assert/strict";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { descendants } from "../../test/node.ts";
import type { Pki } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import { harmless, since, unhurt } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { ALL, inModes, type Mode, openMode } from "./modes.ts";
import { describe } from "./traffic.ts";

const PARTS = "pcapng feed";
const RELOADS = 30;

/** Reloads, and files that are not whole. */
export const CONFIGURATION: readonly Fault[] = [
  ...inModes(ALL, {
    name: "reloads-in-a-row",
    about: `${RELOADS} reloads one after the other, each with another policy`,
    promise: "No session is hurt, no worker is replaced, and each reload succeeds",
    parts: PARTS,
    run: reloadOften,
  }),
  ...inModes(["loopback", "bridge"], {
    name: "configuration-truncated",
    about: "The configuration file is cut at 20 places, each followed by a reload",
    promise: "A file that is not whole is refused with its name and place; no session is hurt",
    parts: PARTS,
    quick: true,
    run: truncateConfiguration,
  }),
  ...inModes(["loopback", "router"], {
    name: "list-truncated",
    about: "A list of 2,000 hosts is cut in the middle of a line, and then to nothing, and reloaded",
    promise:
      "No session is hurt, hosts that the list still names are bypassed as before, and the reload warns of the file and its line",
    parts: PARTS,
    run: truncateList,
  }),
  ...inModes(["loopback", "bridge"], {
    name: "reload-with-hung-worker",
    about: "A reload while a worker is stopped (SIGSTOP)",
    promise: "The reload ends, names the worker and takes the new policy; the worker is replaced",
    parts: PARTS,
    run: reloadWithHungWorker,
  }),
];

const policy = (name: string) => ({
  policy: { rules: [{ name, match: { host: [`${name}.never.example`] }, action: "bypass" }] },
});

async function reloadOften(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki);
  const { node } = bench;
  const workers = descendants(node.process.pid);
  const took: number[] = [];
  const seen = await harmless(bench, async () => {
    for (let count = 0; count < RELOADS; count++) {
      node.rewrite(policy(`rule${count}`));
      const start = performance.now();
      await node.api("reload", "POST");
      took.push(performance.now() - start);
    }
  });
  assert.deepEqual(descendants(node.process.pid), workers);
  took.sort((a, b) => a - b);
  return `${RELOADS} of ${RELOADS} reloads done, the slowest in ${took.at(-1)!.toFixed(0)} ms; ${seen}`;
}

async function truncateConfiguration(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki);
  const { node } = bench;
  const whole = readFileSync(node.file, "utf8");
  let refused = 0;
  const seen = await harmless(bench, async () => {
    for (let part = 0; part < 20; part++) {
      // A file that is empty, and one that lacks its last byte, are among them.
      writeFileSync(node.file, whole.slice(0, Math.round(((whole.length - 1) * part) / 19)));
      await assert.rejects(node.api("reload", "POST"), /clearline\.yaml/);
      refused++;
    }
    writeFileSync(node.file, whole);
    await node.api("reload", "POST");
  });
  return `${refused} of 20 refused; ${seen}`;
}

async function truncateList(pki: Pki, mode: Mode): Promise<string> {
  const hosts = Array.from({ length: 2000 }, (_, at) => `host${at}.listed.example\n`).join("");
  const config = { policy: { lists: { bypass: ["./bypass.txt"] } } };
  const prepare = (folder: string) => writeFileSync(join(folder, "bypass.txt"), hosts);
  await using bench = await openMode(mode, pki, { config, prepare });
  const { node } = bench;
  const file = join(node.folder, "bypass.txt");
  const answers: string[] = [];
  const verdict = async (host: string) => (await node.command("explain", "--host", host)).stdout;
  const seen = await harmless(bench, async () => {
    assert.match(await verdict("host3.listed.example"), /bypass/);
    for (const length of [Math.floor(hosts.length / 2), 0]) {
      truncateSync(file, length);
      const { code, stdout, stderr } = await node.command("reload");
      assert.equal(code, 0, stderr);
      if (length > 0) assert.match(await verdict("host3.listed.example"), /bypass/);
      const warned = length > 0 ? /bypass\.txt:\d+: the last line has no line end/ : /has no entry, and had \d+ before/;
      assert.match(stdout, warned);
      answers.push(`cut to ${length} bytes: taken, "${warned.exec(stdout)?.[0]}"`);
    }
  });
  return `${answers.join(", ")}; ${seen}`;
}

async function reloadWithHungWorker(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openMode(mode, pki, {}, { downloads: 0, idle: 0 });
  const { node, traffic } = bench;
  const [victim] = (await node.stats()).workers;
  process.kill(victim!.pid, "SIGSTOP");
  node.rewrite(policy("hung"));
  const start = performance.now();
  const { code, stdout, stderr } = await node.command("reload");
  const took = since(start);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /Worker \d hung or died: .*it is started again/);
  await until("a new worker", async () => (await node.stats()).workers.every(({ pid }) => pid !== victim!.pid));
  const back = since(start);
  const visits = await traffic.whole(60, performance.now());
  await unhurt(bench);
  return `the reload took ${took}, exit code 0; the worker was replaced after ${back}; then ${describe(visits)}`;
}
