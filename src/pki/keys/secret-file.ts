import { randomBytes } from "node:crypto";
import { type FileHandle, link, mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";

/** Makes the folder, and closes it to everyone but its owner. */
export async function makeSecretFolder(directory: string): Promise<void> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const handle = await open(directory, "r");
    try {
      if ((await handle.stat()).mode & 0o077) await handle.chmod(0o700);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw cannot("make the folder", directory, error);
  }
}

/**
 * Writes the file whole or not at all, readable by its owner only. With `exclusive`, a file that is there already
 * stays: the answer is false, and two processes that write at once agree on the first one's.
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
      // Unlike rename, link fails when the name is taken; and unlike open "wx", it never shows half a file.
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

/** Gives the file another name; one that is not there stays away. */
export async function moveSecret(path: string, to: string): Promise<void> {
  try {
    await rename(path, to);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw cannot("rename", path, error);
  }
}

/** Makes a rename or a link in the folder survive a power cut. */
async function syncFolder(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The longest file that is read: a chain of certificates with its key is some kilobytes. */
const MAX_SIZE = 1024 * 1024;

/**
 * Reads a file that only its owner may read. One that others could read is closed to them, and `notice` is told.
 * Answers undefined when there is no such file; throws ConfigError when it cannot be read or closed.
 */
export async function readSecret(path: string, notice: (text: string) => void): Promise<string | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const { mode, size } = await handle.stat();
    if (size > MAX_SIZE) throw new ConfigError(path, `Cannot read ${path}: it is larger than ${MAX_SIZE} bytes`);
    if (mode & 0o077) {
      await handle.chmod(0o600);
      const was = (mode & 0o777).toString(8);
      notice(
        `${path} could be read by others than its owner (mode ${was}): changed to 600. If others had access, renew it`,
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

/** Whether there is a file of this name. */
export async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: "no permission",
  EPERM: "not permitted",
  ENOENT: "no such file or folder",
  ENOTDIR: "part of its path is not a folder",
  EISDIR: "it is a folder",
  EEXIST: "something else is there",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left",
};

function cannot(action: string, path: string, error: unknown): ConfigError {
  const code = codeOf(error);
  return new ConfigError(path, `Cannot ${action} ${path}: ${REASONS[code] ?? code}`, { cause: error });
}

/** The system's name of an error: "ENOENT". */
export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error);
}
