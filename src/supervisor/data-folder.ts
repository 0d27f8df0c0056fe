import { access, chmod, chown, constants, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ConfigError } from "../errors.ts";
import { makeFolder } from "../linux/folder.ts";
import type { Account } from "../linux/privileges.ts";
import { log } from "../log.ts";
import { checkFile, checkFolder } from "../pki/keys/secret-file.ts";

/**
 * Makes the data folder, and in it a compile cache for the workers. `user`: who the workers become, and must be able to pass through
 * the data folder. Throws ConfigError, also when a folder or file in it is another user's, or a symbolic link: nothing of it has
 * been read then.
 */
export async function makeFolders(dataDir: string, user: Account | undefined): Promise<void> {
  await makeDataDir(dataDir);
  await warnOfWay(dataDir);
  await checkContent(dataDir);
  // A worker that replaces a dead one starts in a fraction of the time when nothing has to be compiled. Workers write it before
  // they give up their rights and read a byte of a session.
  const compiled = join(dataDir, "compiled");
  await makeDataDir(compiled);
  process.env["NODE_COMPILE_CACHE"] ??= compiled;
  if (user) await chown(dataDir, -1, user.gid);
  await chmod(dataDir, user ? MODE_WITH_WORKERS : 0o700);
}

/** Of a folder: the workers' group may pass through. */
export const MODE_WITH_WORKERS = 0o710;

async function makeDataDir(directory: string): Promise<void> {
  try {
    await makeFolder(directory);
    await access(directory, constants.W_OK | constants.X_OK);
    await checkFolder(directory, MODE_WITH_WORKERS);
  } catch (error) {
    if (error instanceof ConfigError) throw ofDataDir(error);
    const { code = "" } = error as NodeJS.ErrnoException;
    const why = FOLDER_OBSTACLES[code] ?? code;
    throw new ConfigError("dataDir", `Cannot use the folder ${directory} (dataDir): ${why}`, { cause: error });
  }
}

/**
 * A user who may write to a folder above can put another folder in the place of this one. That is only a warning: volumes of containers
 * are often like this.
 */
async function warnOfWay(dataDir: string): Promise<void> {
  for (let folder = dirname(dataDir); ; folder = dirname(folder)) {
    const { mode, gid } = await stat(folder);
    // A group of the user's own is the default of some systems. In a sticky folder only the owner can rename.
    const others = gid === process.getegid?.() ? 0o002 : 0o022;
    if (mode & others && !(mode & 0o1000)) {
      const shown = (mode & 0o777).toString(8);
      log.warn(`Other users may put their own folder in the place of dataDir, ${dataDir}: ${folder} has mode ${shown}`);
    }
    if (folder === dirname(folder)) return;
  }
}

/** The files of the node's own in the data folder. Folders of captures may be there too, which are the user's business. */
const OWN_FILE =
  /^(?:token|lock|series\.bin|bypasses\.json|tokens\.json|(?:node|inline|tools)\.json.*|(?:history|audit)\.db.*|worker-\d+\.call)$/;
/** Folders of which every file is the node's own. */
const OWN_FOLDERS = ["ca", "keys"];

/** What was put there while others could write is refused even after they no longer can. */
async function checkContent(dataDir: string): Promise<void> {
  try {
    const names = await readdir(dataDir);
    const files = names.filter((name) => OWN_FILE.test(name)).map((name) => join(dataDir, name));
    for (const folder of OWN_FOLDERS.filter((name) => names.includes(name)).map((name) => join(dataDir, name))) {
      await checkFolder(folder);
      files.push(...(await readdir(folder)).map((name) => join(folder, name)));
    }
    for (const file of files) await checkFile(file);
  } catch (error) {
    if (error instanceof ConfigError) throw ofDataDir(error);
    const { code, path } = error as NodeJS.ErrnoException;
    throw new ConfigError("dataDir", `Cannot look through ${path} (dataDir): ${code}`, { cause: error });
  }
}

function ofDataDir(error: ConfigError): ConfigError {
  return new ConfigError("dataDir", error.message, { cause: error });
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
