import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { getSystemErrorMessage } from "node:util";
import { makeFolder } from "../linux/folder.ts";
import { writeUncached } from "../linux/syscalls.ts";

/** A file that contains whole records only. */
export interface CaptureFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly inode: number;
  /** The bytes and records in it. */
  length: number;
  records: number;
  /** Its file system can write without keeping the pages. */
  uncached: boolean;
}

/**
 * Writes of at least so many bytes bypass the page cache. Nobody reads the file soon, and new pages cost the kernel more than all else
 * in a feed: with them a GiB took 0.9 s of CPU on a virtual machine, without them 0.3 s.
 */
const LARGE = 128 * 1024;

/** Creates the file with mode 0600 and its preamble, and a missing directory. Throws the system's errors. */
export async function createFile(path: string, preamble: Buffer): Promise<CaptureFile> {
  await makeFolder(dirname(path));
  const handle = await open(path, "wx", 0o600);
  const file = { path, handle, inode: (await handle.stat()).ino, length: 0, records: 0, uncached: true };
  await append(file, [preamble], 0).catch(async (error: unknown) => {
    await discard(file);
    throw error;
  });
  return file;
}

/** Throws the system's errors. Then call `discard`, which removes the incomplete record. */
export async function append(file: CaptureFile, pieces: readonly Buffer[], records: number): Promise<void> {
  const total = lengthOf(pieces);
  for (let rest = pieces; rest.length > 0; ) rest = after(rest, await write(file, rest));
  file.length += total;
  file.records += records;
}

/** Answers how many bytes of the pieces were written. */
async function write(file: CaptureFile, pieces: readonly Buffer[]): Promise<number> {
  if (file.uncached && lengthOf(pieces) >= LARGE) {
    const written = await writeUncached(file.handle.fd, pieces);
    if (written > 0) return written;
    file.uncached = false;
  }
  // If the file itself is the trouble, this throws the reason.
  return (await file.handle.writev(pieces)).bytesWritten;
}

function lengthOf(pieces: readonly Buffer[]): number {
  return pieces.reduce((total, { length }) => total + length, 0);
}

/** What is left of the pieces behind the first `written` bytes. */
function after(pieces: readonly Buffer[], written: number): readonly Buffer[] {
  let skipped = written;
  return pieces.flatMap((piece) => {
    const rest = piece.subarray(skipped);
    skipped = Math.max(0, skipped - piece.length);
    return rest.length > 0 ? [rest] : [];
  });
}

/** Whether the file still has its name. */
export async function isInPlace(file: Pick<CaptureFile, "path" | "inode">): Promise<boolean> {
  return await stat(file.path).then(
    (found) => found.ino === file.inode,
    () => false,
  );
}

/** Closes the file, and deletes it if it has no records. */
export async function finish(file: CaptureFile): Promise<void> {
  await file.handle.close();
  if (file.records === 0) await rm(file.path, { force: true });
}

/** Closes a file that could not be written, and removes the incomplete record at its end. Never throws. */
export async function discard(file: CaptureFile): Promise<void> {
  await file.handle.truncate(file.length).catch(() => undefined);
  await finish(file).catch(() => undefined);
}

/**
 * Deletes all but the newest `share` files of this feed and worker, named `<name>-<time>-w<worker>.<extension>`. Files of
 * workers that no longer exist, after a start with fewer workers, count as those of another worker.
 */
export async function prune(
  directory: string,
  {
    name,
    worker,
    workers,
    extension,
    share,
  }: { name: string; worker: number; workers: number; extension: string; share: number },
): Promise<void> {
  const mine = (await readdir(directory)).filter((file) => {
    if (!file.startsWith(`${name}-`)) return false;
    const found = /^\d{8}T\d{6}\.\d{3}Z-w(\d+)\.([a-z]+)$/.exec(file.slice(name.length + 1));
    return found?.[2] === extension && Number(found[1]) % workers === worker % workers;
  });
  for (const file of mine.sort().slice(0, -share)) await rm(join(directory, file), { force: true });
}

/** The reason in words: "no space left on device (ENOSPC)". */
export function reasonOf(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  return code === undefined || errno === undefined ? message : `${getSystemErrorMessage(errno)} (${code})`;
}
