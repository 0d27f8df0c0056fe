import { type FileHandle, open, readdir, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { getSystemErrorMessage } from "node:util";
import { makeFolder } from "../linux/folder.ts";

/** A file that only ever holds whole records. */
export interface CaptureFile {
  readonly path: string;
  readonly handle: FileHandle;
  readonly inode: number;
  /** Bytes in it, and the records they make. */
  length: number;
  records: number;
}

/** Creates the file, 0600, with its preamble, and its directory, 0700, when that is missing. Throws the system's errors. */
export async function createFile(path: string, preamble: Buffer): Promise<CaptureFile> {
  await makeFolder(dirname(path));
  const handle = await open(path, "wx", 0o600);
  const file = { path, handle, inode: (await handle.stat()).ino, length: 0, records: 0 };
  await append(file, preamble, 0).catch(async (error: unknown) => {
    await discard(file);
    throw error;
  });
  return file;
}

/** Throws the system's errors; `discard` then takes away what was written in part. */
export async function append(file: CaptureFile, bytes: Uint8Array, records: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.handle.write(bytes, done, bytes.length - done)).bytesWritten;
  }
  file.length += bytes.length;
  file.records += records;
}

/** Whether the file is still where its name says. */
export async function isInPlace(file: Pick<CaptureFile, "path" | "inode">): Promise<boolean> {
  return await stat(file.path).then(
    (found) => found.ino === file.inode,
    () => false,
  );
}

/** Closes the file. One without records is taken away. */
export async function finish(file: CaptureFile): Promise<void> {
  await file.handle.close();
  if (file.records === 0) await rm(file.path, { force: true });
}

/** Closes a file that could not be written, without the part of a record at its end. Nothing is left to throw. */
export async function discard(file: CaptureFile): Promise<void> {
  await file.handle.truncate(file.length).catch(() => undefined);
  await finish(file).catch(() => undefined);
}

/**
 * Deletes the oldest files of this feed and worker, named `<name>-<time>-w<worker>.<extension>`, but `share`. Files of
 * workers that no longer exist, after a start with fewer, fall to one that does.
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

/** What the user reads: "no space left on device (ENOSPC)". */
export function reasonOf(error: unknown): string {
  const { code, errno, message } = error as NodeJS.ErrnoException;
  return code === undefined || errno === undefined ? message : `${getSystemErrorMessage(errno)} (${code})`;
}
