import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import type { Account } from "../linux/privileges.ts";

/** Gives the workers' user what its feeds write: a folder of captures, a file of keys. Throws ConfigError with the feed's path. */
export function prepareFeeds(feeds: Config["feeds"], user: Account): void {
  for (const [index, feed] of feeds.entries()) {
    const path = `feeds[${index}].${feed.kind === "keylog" ? "file" : "directory"}`;
    try {
      if (feed.kind === "pcapng") prepareFolder(feed.directory, user);
      if (feed.kind === "keylog") prepareFile(feed.file, user);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = error instanceof Obstacle ? message : code;
      throw new ConfigError(path, `Cannot give the workers' user ${user.uid} what ${path} names: ${why}`, {
        cause: error,
      });
    }
  }
}

class Obstacle extends Error {}

/** Makes the folder and its missing parents for the user, or gives it a folder that an earlier run as this user made. */
function prepareFolder(folder: string, user: Account): void {
  if (makeMissing(folder, user)) return;
  const found = lstatSync(folder);
  if (found.isSymbolicLink()) throw new Obstacle(`${folder} is a symbolic link; name the folder that it leads to`);
  if (!found.isDirectory()) throw new Obstacle(`${folder} is not a folder`);
  checkWay(folder, user);
  if (may(found, user, 0o3)) return;
  const strange = readdirSync(folder).find((name) => !/\.pcapng$/.test(name));
  if (found.uid !== process.geteuid?.() || strange !== undefined) {
    const holds = strange === undefined ? "" : `, and holds ${strange}`;
    throw new Obstacle(
      `${folder} belongs to user ${found.uid}${holds}. Choose an empty folder, or: chown ${user.uid} ${folder}`,
    );
  }
  chownSync(folder, user.uid, user.gid);
  chmodSync(folder, 0o700);
}

/** Makes the file for the user, unless the user can write it. */
function prepareFile(file: string, user: Account): void {
  if (makeMissing(dirname(file), user)) return;
  checkWay(file, user);
  const fd = openSync(file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
  try {
    const found = fstatSync(fd);
    if (!found.isFile()) throw new Obstacle(`${file} is not a file`);
    if (found.uid === user.uid) return;
    if (found.uid !== process.geteuid?.() || found.nlink > 1 || (found.size > 0 && (found.mode & 0o077) !== 0))
      throw new Obstacle(`${file} is not the node's. Name another file, or: chown ${user.uid} ${file}`);
    chownSync(`/proc/self/fd/${fd}`, user.uid, user.gid);
  } finally {
    closeSync(fd);
  }
}

/** Whether the folder had to be made. Then it is the user's, and so are those above it that had to be made. */
function makeMissing(folder: string, user: Account): boolean {
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return false;
    if (code !== "ENOENT" || dirname(folder) === folder) throw error;
    makeMissing(dirname(folder), user);
    mkdirSync(folder, 0o700);
  }
  chownSync(folder, user.uid, user.gid);
  checkWay(folder, user);
  return true;
}

/** Throws where the user may not enter a folder above this one. */
function checkWay(path: string, user: Account): void {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (!may(statSync(folder), user, 0o1)) {
      throw new Obstacle(
        `it may not enter ${folder}. Choose another folder, or: chmod o+x ${folder} (workerUser: ${process.geteuid?.()} keeps the workers your own user)`,
      );
    }
    if (folder === dirname(folder)) return;
  }
}

/** `rights`: as in a mode, 4 read, 2 write, 1 enter. */
function may({ mode, uid, gid }: Stats, user: Account, rights: number): boolean {
  const granted = uid === user.uid ? mode >> 6 : gid === user.gid ? mode >> 3 : mode;
  return (granted & rights) === rights;
}

/** The folder in which the workers meet for a feed. */
export function prepareMeetingPlace(dataDir: string, user: Account): void {
  const folder = join(dataDir, "feeds");
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  chownSync(folder, user.uid, user.gid);
}
