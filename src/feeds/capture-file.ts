import { constants, type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { getSystemErrorMessage } from "node:util";
import { makeFolder } from "../linux/folder.ts";
import { RWF_DONTCACHE, writeWith } from "../linux/syscalls.ts";
import { PAGE } from "./block.ts";

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
  /** Writes whole pages without the page cache; undefined: its file system cannot, or nobody writes whole pages. */
  direct: FileHandle | undefined;
}

/**
 * Writes of at least so many bytes leave no pages in the page cache. Nobody reads the file soon, and new pages cost the kernel more than
 * all else in a feed. A GiB takes 0.21 s of CPU on ext4 where the cache forgets the pages, and 0.11 s where whole pages bypass it.
 */
export const LARGE = 128 * 1024;

/** Creates the file with mode 0600 and its preamble, and a missing directory. Throws the system's errors. */
export async function createFile(path: string, preamble: Buffer, wantsDirect: boolean): Promise<CaptureFile> {
  await makeFolder(dirname(path));
  const handle = await open(path, "wx", 0o600);
  const direct = wantsDirect ? await openDirect(handle) : undefined;
  const file = { path, handle, inode: (await handle.stat()).ino, length: 0, records: 0, uncached: true, direct };
  await append(file, [preamble], 0).catch(async (error: unknown) => {
    await discard(file);
    throw error;
  });
  return file;
}

/** The same file again. */
async function openDirect({ fd }: FileHandle): Promise<FileHandle | undefined> {
  return await open(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_DIRECT).catch(() => undefined);
}

/**
 * Throws the system's errors. Then call `discard`, which removes the incomplete record. `waits`: false: the disk is behind, and the cache
 * takes what comes meanwhile.
 */
export async function append(
  file: CaptureFile,
  pieces: readonly Buffer[],
  records: number,
  waits = true,
): Promise<void> {
  const total = lengthOf(pieces);
  let written = 0;
  for (let rest = pieces; rest.length > 0; ) {
    const now = await write(file, rest, file.length + written, waits);
    written += now;
    rest = after(rest, now);
  }
  file.length += total;
  file.records += records;
}

/** Answers how many bytes of the pieces were written. */
async function write(file: CaptureFile, pieces: readonly Buffer[], at: number, waits: boolean): Promise<number> {
  if (file.direct && waits && at % PAGE === 0 && pieces.every(({ length }) => length % PAGE === 0)) {
    const written = await writeWith(0, file.direct.fd, pieces, at);
    if (written > 0) return written;
    const { direct } = file;
    file.direct = undefined;
    await direct.close();
  }
  if (file.uncached && lengthOf(pieces) >= LARGE) {
    const written = await writeWith(RWF_DONTCACHE, file.handle.fd, pieces, at);
    if (written > 0) return written;
    file.uncached = false;
  }
  // If the file itself is the trouble, this throws the reason.
  return (await file.handle.writev(pieces, at)).bytesWritten;
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
  try {
    await file.direct?.close();
  } finally {
    await file.handle.close();
  }
  if (file.records === 0) await rm(file.path, { force: true });
}

/** Closes a file that could not be written, and removes the incomplete record at its end. Never throws. */
export async function discard(file: CaptureFile): Promise<void> {
  await file.handle.truncate(file.length).catch(() => undefined);
  await finish(file).catch(() => undefined);
}

/**
 * Deletes all but the newest `share` files of this feed and worker, named `<name>-<time>-w<worker>.<extension>`; an empty extension has no dot. Files of
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
  const ending = extension === "" ? "" : `.${extension}`;
  const mine = (await readdir(directory)).filter((file) => {
    if (!file.startsWith(`${name}-`)) return false;
    const found = /^\d{8}T\d{6}\.\d{3}Z-w(\d+)(.*)$/.exec(file.slice(name.length + 1));
    return found?.[2] === ending && Number(found[1]) % workers === worker % workers;
  });
  for (const file of mine.sort().slice(0, Math.max(0, mine.length - share)))
    await rm(join(directory, file), { force: true });
}

/** The reason in words: "no space left on device (ENOSPC)". */
export function reasonOf(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  return code === undefined || errno === undefined ? message : `${getSystemErrorMessage(errno)} (${code})`;
}
