import { randomBytes } from "node:crypto";
import { type FileHandle, link, mkdir, open, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";

/** Makes the folder, if it does not exist, and removes the access of all users but its owner. */
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

/** Renames the file, if it exists. Throws ConfigError. */
export async function moveSecret(path: string, to: string): Promise<void> {
  try {
    await rename(path, to);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw cannot("rename", path, error);
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
    handle = await open(path, "r");
    const { mode, size } = await handle.stat();
    if (size > MAX_SIZE) throw new ConfigError(path, `Cannot read ${path}: it is larger than ${MAX_SIZE} bytes`);
    if (mode & 0o077) {
      await handle.chmod(0o600);
      const was = (mode & 0o777).toString(8);
      notice(
        `Other users could read ${path} (mode ${was}). Its mode is 600 now; if they read it, renew the secret in it`,
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
