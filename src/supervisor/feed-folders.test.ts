import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  lchownSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { scratch } from "../../test/processes.ts";
import { CONFIG } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import { prepareFeeds } from "./feed-folders.ts";

const USER = { uid: 65_530, gid: 65_530 };
const STRANGER = 65_533;

function prepare(...given: object[]): void {
  const listeners = [{ name: "p", mode: "explicit", address: "127.0.0.1:8080" }];
  const feeds = given.map((feed, index) => ({ name: `feed${index}`, ...feed }));
  prepareFeeds({ dataDir: "/nonexistent", feeds: CONFIG.parse({ listeners, feeds }).feeds }, USER);
}
const prepareFolder = (directory: string) => prepare({ kind: "pcapng", directory });
const prepareFile = (file: string) => prepare({ kind: "keylog", file });

function refuses(act: () => void, path: string, why: RegExp): void {
  assert.throws(act, (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.path, path);
    assert.match(error.message, why);
    return true;
  });
}

const ownerOf = (path: string) => statSync(path).uid;

describe("What feeds write", { skip: process.getuid?.() !== 0 && "needs root, to give files to another user" }, () => {
  test("is made for the workers' user, with the folders above it that are missing", () => {
    const folder = scratch();
    prepareFolder(join(folder, "a/b"));
    prepareFile(join(folder, "keys/tls.log"));
    for (const name of ["a", "a/b", "keys"]) {
      const { uid, mode } = statSync(join(folder, name));
      assert.deepEqual([uid, mode & 0o777], [USER.uid, 0o700], name);
    }
    // The workers make the file in their own folder.
    assert.ok(!existsSync(join(folder, "keys/tls.log")));
  });

  test("is the workers' user's if an earlier run as the node's own user made it", () => {
    const folder = scratch();
    const captures = join(folder, "captures");
    mkdirSync(captures, { mode: 0o700 });
    writeFileSync(join(captures, "one-20260101T000000.000Z-w0.pcapng"), "");
    writeFileSync(join(folder, "tls.log"), "CLIENT_RANDOM", { mode: 0o600 });
    prepareFolder(captures);
    prepareFile(join(folder, "tls.log"));
    prepareFile(join(folder, "new.log"));
    for (const name of ["captures", "tls.log", "new.log"]) assert.equal(ownerOf(join(folder, name)), USER.uid, name);
    // Once more, as at the next start.
    prepareFolder(captures);
    prepareFile(join(folder, "tls.log"));
  });

  test("stays as it is where the workers' user may write already", () => {
    const folder = join(scratch(), "shared");
    mkdirSync(folder);
    chmodSync(folder, 0o1777);
    prepareFolder(folder);
    assert.equal(ownerOf(folder), 0);
  });

  test("is not taken from anybody: other users' folders, folders with other files, links", () => {
    const folder = scratch();
    const [theirs, mixed, link] = ["theirs", "mixed", "link"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(theirs);
    chownSync(theirs, STRANGER, STRANGER);
    mkdirSync(mixed);
    writeFileSync(join(mixed, "shadow"), "");
    symlinkSync(mixed, link);
    const way = /Choose an empty folder, or: chown 65530 /;
    refuses(() => prepareFolder(theirs), "feeds[0].directory", /theirs belongs to user 65533\. /);
    refuses(() => prepareFolder(theirs), "feeds[0].directory", way);
    refuses(() => prepareFolder(mixed), "feeds[0].directory", /mixed belongs to user 0, and holds shadow\. /);
    refuses(
      () => prepareFolder(link),
      "feeds[0].directory",
      /link is a symbolic link; name the folder that it leads to/,
    );
    refuses(() => prepareFolder(join(mixed, "shadow")), "feeds[0].directory", /is not a folder/);
    assert.deepEqual([theirs, mixed].map(ownerOf), [STRANGER, 0]);

    const [stolen, other] = [join(folder, "stolen.log"), join(folder, "other.log")];
    writeFileSync(other, "x", { mode: 0o600 });
    symlinkSync(other, stolen);
    refuses(() => prepareFile(stolen), "feeds[0].file", /: ELOOP$/);
    chownSync(other, STRANGER, STRANGER);
    refuses(() => prepareFile(other), "feeds[0].file", /other\.log is not the node's\. /);
    assert.equal(ownerOf(other), STRANGER);
  });

  test("is left to the workers below a folder in which their user can swap it for a link", () => {
    const folder = scratch();
    prepareFolder(join(folder, "theirs"));
    const victim = join(folder, "victim");
    mkdirSync(victim);
    // The workers' user has made the link, and would be given what it leads to.
    symlinkSync(victim, join(folder, "theirs/link"));
    lchownSync(join(folder, "theirs/link"), USER.uid, USER.gid);
    symlinkSync(join(folder, "theirs"), join(folder, "way"));
    for (const way of ["theirs/link", "way/link", "theirs/missing"]) {
      prepareFolder(join(folder, way));
      prepareFolder(join(folder, way, "captures"));
      prepareFile(join(folder, way, "tls.log"));
    }
    assert.deepEqual([ownerOf(victim), readdirSync(victim)], [0, []]);
    assert.ok(!existsSync(join(folder, "theirs/missing")));
    // Anybody may write into a sticky folder, but not move what others have there.
    const sticky = join(folder, "sticky");
    mkdirSync(join(sticky, "own"), { recursive: true });
    chmodSync(sticky, 0o1777);
    prepareFolder(join(sticky, "own/captures"));
    prepareFolder(join(sticky, "new/captures"));
    assert.equal(ownerOf(join(sticky, "own/captures")), USER.uid);
    assert.ok(!existsSync(join(sticky, "new")));
  });

  test("stays as it is for every feed if one cannot be given", () => {
    const folder = scratch();
    const [captures, missing, log] = ["captures", "missing", "tls.log"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    mkdirSync(captures, { mode: 0o700 });
    writeFileSync(log, "CLIENT_RANDOM", { mode: 0o600 });
    const closed = join(folder, "closed");
    mkdirSync(closed, { mode: 0o700 });
    const good = [
      { kind: "pcapng", directory: captures },
      { kind: "pcapng", directory: join(missing, "captures") },
      { kind: "keylog", file: log },
    ];
    const bad = { kind: "pcapng", directory: join(closed, "captures") };
    refuses(() => prepare(...good, bad), "feeds[3].directory", /may not enter/);
    assert.deepEqual([captures, log].map(ownerOf), [0, 0]);
    assert.ok(!existsSync(missing));
    prepare(...good);
    assert.deepEqual([captures, missing, log].map(ownerOf), [USER.uid, USER.uid, USER.uid]);
  });

  test("is refused where the workers' user may not enter a folder above it", () => {
    const closed = join(scratch(), "closed");
    mkdirSync(closed, { mode: 0o700 });
    const why = /it may not enter .*\/closed\. Choose another folder, or: chmod o\+x .*\/closed \(workerUser: 0 /;
    refuses(() => prepareFolder(join(closed, "captures")), "feeds[0].directory", why);
    refuses(() => prepareFile(join(closed, "tls.log")), "feeds[0].file", why);
  });
});
