import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, lstat, mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";

/** Makes the folder, if it does not exist, and checks it as `checkFolder` does. Throws ConfigError. */
export async function makeSecretFolder(directory: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await checkFolder(directory, mode);
  } catch (error) {
    throw error instanceof ConfigError ? error : cannot("make the folder", directory, error);
  }
}

/**
 * Removes all access that `most`, a mode, does not have. Throws ConfigError when this is not a folder of the node's own: then what is
 * in it may be somebody else's. Throws the system's errors.
 */
export async function checkFolder(directory: string, most = 0o700): Promise<void> {
  const refuse = (why: string) => new ConfigError(directory, `Cannot use the folder ${directory}: ${why}`);
  if ((await lstat(directory)).isSymbolicLink())
    throw refuse("it is a symbolic link; name the folder that it leads to, or put that folder in its place");
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  const handle = await open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const { uid, mode } = await handle.stat();
    const own = process.geteuid?.();
    if (uid !== own)
      throw refuse(
        `it belongs to user ${uid}, and the node runs as user ${own}; run it as that user, or: chown -R ${own} ${directory}`,
      );
    if (mode & 0o022) {
      if (await closeEmpty(directory, handle, mode)) return;
      throw refuse(
        `other users may write there (mode ${modeOf(mode)}), so what is in it may be theirs; look through it, then: chmod 700 ${directory}`,
      );
    }
    if (mode & 0o777 & ~most) await handle.chmod(mode & most);
  } finally {
    await handle.close();
  }
}

/** Removes the access of others to a folder in which they have put nothing. false: it is not empty, and nothing has changed. */
async function closeEmpty(directory: string, handle: FileHandle, mode: number): Promise<boolean> {
  if ((await readdir(directory)).length > 0) return false;
  await handle.chmod(0o700);
  if ((await readdir(directory)).length === 0) return true;
  await handle.chmod(mode & 0o7777);
  return false;
}

/** Throws ConfigError when a file of the node's own, which is there, is a symbolic link or another user's. */
export async function checkFile(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined;
    throw cannot("read", path, error);
  });
  if (!found) return;
  const own = process.geteuid?.();
  const why = found.isSymbolicLink()
    ? "it is a symbolic link; put the file itself in its place"
    : found.uid !== own && `it belongs to user ${found.uid}, and the node runs as user ${own}: chown ${own} ${path}`;
  if (why !== false) throw new ConfigError(path, `Cannot use ${path}: ${why}`);
}

/**
 * Writes the file atomically, readable only by its owner. With `exclusive`, an existing file is kept and the answer is
 * false: of two processes that write at once, both then use the file of the first. Throws ConfigError.
 */
export async function writeSecret(path: string, text: string, exclusive: boolean): Promise<boolean> {
  const temporary = join(dirname(path), `.${randomBytes(8).toString("hex")}.tmp`);
  try {
    const handle = await open(temporary, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    if (exclusive) {
      // link fails when the name exists, which rename does not; and it never shows a partial file, as open "wx" does.
      await link(temporary, path);
      await unlink(temporary);
    } else {
      await rename(temporary, path);
    }
    await syncFolder(dirname(path));
    return true;
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    if (exclusive && codeOf(error) === "EEXIST") return false;
    throw cannot("write", path, error);
  }
}

/** Removes what a crash left of files that were being written: it may hold keys. Throws ConfigError. */
export async function removeDrafts(directory: string): Promise<void> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return [];
    throw cannot("read", directory, error);
  });
  for (const name of names) if (/^\.[0-9a-f]{16}\.tmp$/.test(name)) await removeSecret(join(directory, name));
}

/** Renames the file, for good: this survives a power cut. Throws ConfigError. */
export async function renameSecret(path: string, to: string): Promise<void> {
  try {
    await rename(path, to);
    await syncFolder(dirname(to));
  } catch (error) {
    throw cannot("rename", path, error);
  }
}

/** Removes the file, for good, if it exists. Throws ConfigError. */
export async function removeSecret(path: string): Promise<void> {
  try {
    await unlink(path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw cannot("remove", path, error);
  }
}

/**
 * Overwrites the file and removes it. What the disk has kept elsewhere, as flash memory and snapshots do, is out of reach. false: there
 * was none. Throws ConfigError, and then the file is still there.
 */
export async function destroySecret(path: string): Promise<boolean> {
  try {
    await checkFile(path);
    const handle = await open(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { size } = await handle.stat();
      await handle.write(randomBytes(Math.min(size, MAX_SIZE)), 0, undefined, 0);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await removeSecret(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error instanceof ConfigError ? error : cannot("destroy", path, error);
  }
}

/** After this a rename or a link in the folder survives a power cut. */
async function syncFolder(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A chain of certificates with its key has some kilobytes. */
const MAX_SIZE = 1024 * 1024;

/**
 * Reads a file that only its owner may read. If other users can read it, removes their access and reports that to
 * `notice`. Answers undefined when the file does not exist. Throws ConfigError.
 */
export async function readSecret(path: string, notice: (text: string) => void): Promise<string | undefined> {
  let handle: FileHandle | undefined;
  try {
    await checkFile(path);
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const found = await handle.stat();
    const { mode, size } = found;
    if (!found.isFile())
      throw new ConfigError(path, `Cannot read ${path}: it is ${found.isDirectory() ? "a folder" : "not a file"}`);
    if (size > MAX_SIZE) throw new ConfigError(path, `Cannot read ${path}: it is larger than ${MAX_SIZE} bytes`);
    if (mode & 0o077) {
      await handle.chmod(0o600);
      notice(
        `Other users could read ${path} (mode ${modeOf(mode)}). Its mode is 600 now; if they read it, renew the secret in it`,
      );
    }
    return await handle.readFile("utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error instanceof ConfigError ? error : cannot("read", path, error);
  } finally {
    await handle?.close();
  }
}

function modeOf(mode: number): string {
  return (mode & 0o777).toString(8);
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "not permitted",
  ENOENT: "no such file or folder",
  ENOTDIR: "part of its path is not a folder",
  EISDIR: "it is a folder",
  EIO: "the disk fails (EIO)",
  EMFILE: "too many open files (EMFILE)",
  ENFILE: "too many open files on this machine (ENFILE)",
  EEXIST: "it exists already",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left",
};

function cannot(action: string, path: string, error: unknown): ConfigError {
  const code = codeOf(error);
  return new ConfigError(path, `Cannot ${action} ${path}: ${REASONS[code] ?? code}`, { cause: error });
}

/** The system's error code, such as "ENOENT". */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
