import { closeSync, constants, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { startOf } from "../config/data-folder.ts";
import { ConfigError, NetworkError } from "../errors.ts";
import { lockFile } from "../linux/process-calls.ts";
import { log } from "../log.ts";

/** Who has the data folder. The start tells the process from a later one with the same number. */
interface Owner {
  readonly pid: number;
  /** In clock ticks since boot. */
  readonly started: string;
  /** The same for people, in ISO 8601. */
  readonly since: string;
}

/**
 * Takes the data folder for this node: two nodes would write one history, and each would take the other's sessions for those of a dead
 * one. The kernel's lock ends with the process, and holds between containers. Throws ConfigError when another node has it.
 */
export function lockDataDir(dataDir: string): void {
  const file = join(dataDir, "lock");
  const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
  let fd: number | undefined;
  try {
    fd = openSync(file, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600);
    const before = readOwner(fd);
    if (!take(fd, file, before) || !takeFolder(dataDir)) throw taken(dataDir, before);
    const { pid } = process;
    const owner: Owner = { pid, started: startOf(pid) ?? "", since: new Date().toISOString() };
    ftruncateSync(fd, 0);
    writeSync(fd, `${JSON.stringify(owner)}\n`, 0);
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    if (error instanceof ConfigError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError("dataDir", `Cannot lock the folder ${dataDir} (dataDir): ${code}`, { cause: error });
  }
}

/** The file may have been removed while a node has it; the folder has not. Answers true where the kernel cannot lock folders. */
function takeFolder(dataDir: string): boolean {
  const fd = openSync(dataDir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    if (lockFile(fd)) return true;
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return true;
  }
  closeSync(fd);
  return false;
}

function take(fd: number, file: string, before: Owner | undefined): boolean {
  try {
    return lockFile(fd);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    log.warn(`The file system of ${file} has no locks (${error.code}); only a node on this machine is noticed`);
    return before === undefined || startOf(before.pid) !== before.started;
  }
}

function taken(dataDir: string, owner: Owner | undefined): ConfigError {
  const who = owner ? `, process ${owner.pid}, has used it since ${owner.since}` : " uses it";
  const way = "stop that node, or give this one its own dataDir";
  return new ConfigError("dataDir", `Cannot use the folder ${dataDir} (dataDir): another node${who}; ${way}`);
}

/** Undefined: the file is new, or its writer has just opened it. */
function readOwner(fd: number): Owner | undefined {
  try {
    const { pid, started, since } = JSON.parse(readFileSync(fd, "utf8"));
    const isOwner = Number.isInteger(pid) && typeof started === "string" && typeof since === "string";
    return isOwner ? { pid, started, since } : undefined;
  } catch {
    return undefined;
  }
}
