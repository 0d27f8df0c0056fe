import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { buildNetwork } from "../../lab/network.ts";
import { missingRequirement } from "../../lab/requirements.ts";
import { type Program, run, start, until } from "../processes.ts";

const LAB = new URL("../../lab/main.ts", import.meta.url).pathname;

describe("The lab", { skip: missingRequirement() ?? false }, () => {
  test("Ctrl-C closes the lab and removes everything", async () => {
    const lab = await openLab("--no-traffic");
    assert.equal(namespacesOf(lab).length, 5);
    const { code } = await lab.stop("SIGINT");
    assert.equal(code, 130);
    assert.deepEqual(namespacesOf(lab), []);
  });

  test("a signal while the lab is being built removes everything too", async () => {
    const lab = start(process.execPath, [LAB]);
    await until("the first namespace", () => namespacesOf(lab).length > 0);
    assert.equal((await lab.stop("SIGTERM")).code, 143);
    assert.deepEqual(namespacesOf(lab), []);
  });

  test("the next network removes the namespaces and programs of a killed lab", async () => {
    const lab = await openLab("--no-traffic", "--topology", "routed");
    const left = namespacesOf(lab);
    const pids = await programsIn(left);
    assert.ok(pids.length > 0);
    await lab.stop("SIGKILL");
    assert.deepEqual(namespacesOf(lab), left);
    await using _ = await buildNetwork("routed");
    assert.deepEqual(namespacesOf(lab), []);
    await until("the end of the killed lab's programs", () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
  });

  test("--duration ends the lab after its traffic, with code 0", async () => {
    const { code, stdout, stderr } = await run(process.execPath, [LAB, "--duration", "5s"], { within: 240_000 });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Traffic flows/);
    assert.doesNotMatch(stdout, /failed/);
  });

  test("a topology that does not exist ends the lab with code 2", async () => {
    const { code, stderr } = await run(process.execPath, [LAB, "--topology", "star"]);
    assert.equal(code, 2);
    assert.match(stderr, /bridge, routed/);
  });
});

test("Without root the lab ends with one line that says so", { skip: missingRequirement() ?? false }, async () => {
  // In a new user namespace a program is the user nobody, and may still read the same files.
  const { code, stdout, stderr } = await run("unshare", ["--user", process.execPath, LAB]);
  assert.equal(code, 1);
  assert.match(stdout + stderr, /^Cannot open the lab: it needs root[^\n]*\n$/);
});

async function openLab(...options: string[]): Promise<Program> {
  const lab = start(process.execPath, [LAB, ...options]);
  await lab.shows(/Ctrl-C closes the lab/, 180_000);
  return lab;
}

function namespacesOf({ pid }: Program): readonly string[] {
  const all = existsSync("/var/run/netns") ? readdirSync("/var/run/netns") : [];
  return all.filter((name) => name.startsWith(`cltlab${pid}-`)).sort();
}

async function programsIn(namespaces: readonly string[]): Promise<readonly number[]> {
  const lists = await Promise.all(namespaces.map((name) => run("ip", ["netns", "pids", name])));
  return lists.flatMap(({ stdout }) => stdout.split("\n").filter(Boolean).map(Number));
}
