import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { scratch } from "../../test/processes.ts";
import { ConfigError } from "../errors.ts";
import { log } from "../log.ts";
import { makeFolders } from "./data-folder.ts";

const isRoot = process.getuid?.() === 0;
const root = { skip: !isRoot && "needs root, to give a folder to another user" };
const own = process.geteuid?.();

/** A data folder after a first start. */
function dataFolder(): string {
  const folder = join(scratch(), "data");
  mkdirSync(folder, { mode: 0o700 });
  for (const name of ["ca", "keys", "compiled"]) mkdirSync(join(folder, name), { mode: 0o700 });
  for (const name of ["token", "history.db", "ca/primary-ecdsa.key", "keys/0123456789abcdef.json", "compiled/v26"])
    writeFileSync(join(folder, name), "kept", { mode: 0o600 });
  return folder;
}

interface Refusal {
  readonly title: string;
  readonly spoil: (folder: string) => void;
  readonly why: RegExp;
  readonly needsRoot?: true;
}

const asLink = (name: string) => (folder: string) => {
  rmSync(join(folder, name), { recursive: true, force: true });
  symlinkSync("/etc", join(folder, name));
};
const REFUSALS: readonly Refusal[] = [
  {
    title: "that is a symbolic link",
    spoil: asLink(""),
    why: /data: it is a symbolic link; name the folder that it leads to/,
  },
  ...["ca", "keys", "compiled"].map((name) => ({
    title: `whose ${name} is a symbolic link`,
    spoil: asLink(name),
    why: new RegExp(`/data/${name}: it is a symbolic link`),
  })),
  ...[
    "token",
    "history.db",
    "history.db-wal",
    "node.json",
    "inline.json",
    "tools.json.new",
    "worker-0.call",
    "lock",
  ].map((name) => ({
    title: `whose ${name} is a symbolic link`,
    spoil: asLink(name),
    why: new RegExp(`Cannot use .*/data/${name}: it is a symbolic link; put the file itself in its place`),
  })),
  {
    title: "with a CA key that is a symbolic link",
    spoil: asLink("ca/primary-ecdsa.key"),
    why: /primary-ecdsa\.key: it is a symbolic link/,
  },
  ...[0o777, 0o770, 0o702].map((mode) => ({
    title: `with mode ${mode.toString(8)}`,
    spoil: (folder: string) => chmodSync(folder, mode),
    why: new RegExp(
      `other users may write there \\(mode ${mode.toString(8)}\\), .*; look through it, then: chmod 700 .*/data$`,
    ),
  })),
  ...["ca", "keys", "compiled"].map((name) => ({
    title: `in which others may write to ${name}`,
    spoil: (folder: string) => chmodSync(join(folder, name), 0o777),
    why: new RegExp(`/data/${name}: other users may write there`),
  })),
  ...["", "ca", "keys", "compiled"].map((name) => ({
    title: `in which ${name || "all"} belongs to another user`,
    spoil: (folder: string) => chownSync(join(folder, name), 65_533, 65_533),
    why: /it belongs to user 65533, and the node runs as user 0; run it as that user, or: chown -R 0 /,
    needsRoot: true as const,
  })),
  ...["token", "history.db", "ca/primary-ecdsa.key"].map((name) => ({
    title: `whose ${name} belongs to another user`,
    spoil: (folder: string) => chownSync(join(folder, name), 65_533, 65_533),
    why: new RegExp(`${name}: it belongs to user 65533, and the node runs as user 0: chown 0 `),
    needsRoot: true as const,
  })),
];

for (const { title, spoil, why, needsRoot } of REFUSALS) {
  test(`A data folder ${title} is refused, and nothing in it changes`, needsRoot ? root : {}, async () => {
    const folder = dataFolder();
    spoil(folder);
    await assert.rejects(makeFolders(folder, undefined), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.path, "dataDir");
      assert.match(error.message, why);
      return true;
    });
  });
}

test("An empty data folder that others could write to is closed to them", async () => {
  const folder = join(scratch(), "data");
  for (const mode of [0o777, 0o775]) {
    mkdirSync(folder);
    chmodSync(folder, mode);
    await makeFolders(folder, undefined);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    rmSync(folder, { recursive: true });
  }
});

test("A folder above that others may write to is reported, unless it is sticky", async (t) => {
  const warned: string[] = [];
  t.mock.method(log, "warn", (text: string) => warned.push(text));
  const above = join(scratch(), "above");
  mkdirSync(above);
  for (const mode of [0o755, 0o1777, 0o777]) {
    chmodSync(above, mode);
    await makeFolders(join(above, "between/data"), undefined);
  }
  assert.equal(warned.length, 1);
  assert.match(
    warned[0]!,
    /^Other users may put their own folder in the place of dataDir, .*data: .*above has mode 777$/,
  );
});

test("What others could only read is closed to them", async () => {
  const folder = dataFolder();
  for (const name of ["", "ca"]) chmodSync(join(folder, name), 0o755);
  await makeFolders(folder, undefined);
  for (const name of ["", "ca", "compiled"]) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o700, name);
});

test("A feed's folder in the data folder is the user's, and may be anything", async () => {
  const folder = dataFolder();
  symlinkSync("/var", join(folder, "captures"));
  await makeFolders(folder, undefined);
  assert.deepEqual(readdirSync(folder).sort(), ["ca", "captures", "compiled", "history.db", "keys", "token"]);
});

test("The workers' group may pass through the data folder, and through nothing in it", root, async () => {
  const folder = dataFolder();
  await makeFolders(folder, { uid: 65_530, gid: 65_530 });
  const { mode, uid, gid } = statSync(folder);
  assert.deepEqual([(mode & 0o777).toString(8), uid, gid], ["710", own, 65_530]);
  for (const name of ["ca", "keys", "compiled"]) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o700, name);
  // A node with one user closes it again.
  await makeFolders(folder, undefined);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
});
