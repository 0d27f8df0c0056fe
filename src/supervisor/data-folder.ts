import { access, chmod, chown, constants } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import { makeFolder } from "../linux/folder.ts";
import type { Account } from "../linux/privileges.ts";

/**
 * Makes the data folder, and in it a compile cache for the workers. `user`: who the workers become, and must be able to pass through
 * the data folder. Throws ConfigError.
 */
export async function makeFolders(dataDir: string, user: Account | undefined): Promise<void> {
  await makeDataDir(dataDir);
  // A worker that replaces a dead one starts in a fraction of the time when nothing has to be compiled. Workers write it before
  // they give up their rights and read a byte of a session.
  const compiled = join(dataDir, "compiled");
  await makeDataDir(compiled);
  process.env["NODE_COMPILE_CACHE"] ??= compiled;
  if (user) await chown(dataDir, -1, user.gid);
  await chmod(dataDir, user ? MODE_WITH_WORKERS : 0o700);
}

/** The workers' group may pass through. */
const MODE_WITH_WORKERS = 0o710;

async function makeDataDir(directory: string): Promise<void> {
  try {
    await makeFolder(directory);
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = FOLDER_OBSTACLES[code] ?? code;
    throw new ConfigError("dataDir", `Cannot use the folder ${directory} (dataDir): ${why}`, { cause: error });
  }
}

const FOLDER_OBSTACLES: Readonly<Record<string, string>> = {
  EACCES: "this user has no permission to write there",
  EPERM: "this user has no permission to write there",
  EROFS: "the file system is read-only",
  EEXIST: "a file has this name",
  ENOTDIR: "one of its parents is a file",
  ENOENT: "this file system does not allow new folders there",
  ENOSPC: "the disk is full",
};
