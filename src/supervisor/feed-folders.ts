import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  type Stats,
  statSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Config } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import type { Account } from "../linux/privileges.ts";

/**
 * Gives the workers' user what its feeds write: a folder of captures, a file of keys. Below a folder in which that user can put one thing
 * in the place of another it does nothing, because a worker that was taken over would choose what it is done to; there the workers make
 * what they need. Throws ConfigError with the feed's path. It looks at all feeds first: if one cannot be given, none is.
 */
export function prepareFeeds({ dataDir, feeds }: Pick<Config, "dataDir" | "feeds">, user: Account): void {
  for (const give of [false, true]) {
    for (const [index, feed] of feeds.entries()) {
      const folder = "directory" in feed ? feed.directory : undefined;
      const key = "file" in feed ? ".file" : folder !== undefined ? ".directory" : "";
      const path = `feeds[${index}]${key}`;
      try {
        if (folder !== undefined) prepareFolder(folder, user, give);
        if ("file" in feed) prepareFile(feed.file, user, give);
        // The workers meet in dataDir/feeds. The way through dataDir itself is theirs already.
        if (feed.kind === "pcap-over-ip" || feed.kind === "http") checkWay(dataDir, user);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        const why = error instanceof Obstacle ? message : code;
        const what = `Cannot give the workers' user ${user.uid} what ${path} ${key === "" ? "needs" : "names"}: ${why}`;
        throw new ConfigError(path, what, { cause: error });
      }
    }
  }
}

/** Makes the folder in which the workers meet for a feed of pcap-over-ip, and with the process of one of kind http. */
export function makeMeetingPlace(dataDir: string, user: Account): void {
  const folder = join(dataDir, "feeds");
  try {
    mkdirSync(folder, 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  lchownSync(folder, user.uid, user.gid);
}

class Obstacle extends Error {}

/** Makes the folder and its missing parents for the user, or gives it a folder that an earlier run as this user made. */
function prepareFolder(folder: string, user: Account, give: boolean): void {
  if (isInReach(folder, user) || makeMissing(folder, user, give)) return;
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  const shown = lstatSync(folder);
  if (shown.isSymbolicLink()) throw new Obstacle(`${folder} is a symbolic link; name the folder that it leads to`);
  if (!shown.isDirectory()) throw new Obstacle(`${folder} is not a folder`);
  checkWay(folder, user);
  const fd = openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const found = fstatSync(fd);
    if (may(found, user, 0o3)) return;
    const strange = readdirSync(folder).find((name) => !/\.(?:pcapng|jsonl)$/.test(name));
    if (found.uid !== process.geteuid?.() || strange !== undefined) {
      const holds = strange === undefined ? "" : `, and holds ${strange}`;
      throw new Obstacle(
        `${folder} belongs to user ${found.uid}${holds}. Choose an empty folder, or: chown ${user.uid} ${folder}`,
      );
    }
    if (!give) return;
    fchownSync(fd, user.uid, user.gid);
    fchmodSync(fd, 0o700);
  } finally {
    closeSync(fd);
  }
}

/** Makes the file for the user, unless the user can write it. */
function prepareFile(file: string, user: Account, give: boolean): void {
  if (isInReach(file, user) || makeMissing(dirname(file), user, give)) return;
  checkWay(file, user);
  const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
  const fd = openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    const found = fstatSync(fd);
    if (!found.isFile()) throw new Obstacle(`${file} is not a file`);
    if (found.uid === user.uid) return;
    if (found.uid !== process.geteuid?.() || found.nlink > 1 || (found.size > 0 && (found.mode & 0o077) !== 0))
      throw new Obstacle(`${file} is not the node's. Name another file, or: chown ${user.uid} ${file}`);
    if (give) fchownSync(fd, user.uid, user.gid);
  } finally {
    closeSync(fd);
  }
}

/** Whether the user can put something else in the place of this path, or of a folder on the way to it. */
function isInReach(path: string, user: Account): boolean {
  const folder = dirname(path);
  if (folder === path) return false;
  if (isInReach(folder, user)) return true;
  const around = statIfThere(folder);
  if (!around) return false;
  // By a symbolic link the way leads through other folders.
  const real = realpathSync(folder);
  if (real !== folder && isInReach(join(real, "x"), user)) return true;
  if (!may(around, user, 0o2)) return false;
  // In a sticky folder, such as /tmp, only the owner of a file can move it.
  const inside = lstatIfThere(path);
  return (around.mode & 0o1000) === 0 || around.uid === user.uid || !inside || inside.uid === user.uid;
}

function statIfThere(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}

/** Whether the folder has to be made. Then it becomes the user's, and so do those above it that have to be made. */
function makeMissing(folder: string, user: Account, give: boolean): boolean {
  const made: string[] = [];
  for (let missing = folder; !lstatIfThere(missing); missing = dirname(missing)) made.push(missing);
  if (made.length === 0) return false;
  checkWay(made.at(-1)!, user);
  if (!give) return true;
  for (const one of made.toReversed()) mkdirSync(one, 0o700);
  // The innermost first: in a folder that the user has, it could put something else in the place of the next.
  for (const one of made) lchownSync(one, user.uid, user.gid);
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
