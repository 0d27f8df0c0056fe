import { constants, type FileHandle, link, open, rename, rm, stat } from "node:fs/promises";
import { dirname, join, parse } from "node:path";
import type { Logger } from "pino";
import { makeFolder } from "../linux/folder.ts";
import { isInPlace, prune, reasonOf } from "./capture-file.ts";
import type { FeedCounters, FeedFlow } from "./feed.ts";
import { createRecovery, type Recovery } from "./recovery.ts";

export interface LineFileOptions {
  readonly name: string;
  /** Every worker appends to it. Created with mode 0600 when missing. */
  readonly file: string;
  /** The file is given another name, and a new one begun, at this size in bytes. */
  readonly rotate: number;
  /** The same at this age, in ms; undefined: at any. */
  readonly rotateAfter?: number | undefined;
  /** How many files are kept, with the one that is written. */
  readonly keep: number;
  /** This worker's number. */
  readonly worker: number;
  readonly log: Logger;
  /** ms until a stopped feed tries again. */
  readonly retry?: number | undefined;
  /** ms that a write may take; `STALL` when absent. */
  readonly stall?: number | undefined;
}

/** The most bytes that wait for the disk. */
const LIMIT = 1024 * 1024;
/** Another program may move the file away. Checked at most once in this time, in ms. */
const LOOK = 1000;

/** ms that a write may take. Lines that come while a disk hangs wait for it, as far as there is room. */
const STALL = 10_000;

/** For feeds that take no bytes of sessions. */
export const NO_BYTES: FeedFlow = { data() {}, end() {}, reset() {}, close() {} };

/** Appends lines to the file. One write is under way at a time; the lines that come meanwhile wait for the next. */
export class LineFile {
  readonly #counts = { packets: 0, bytes: 0, dropped: 0 };
  readonly #options: LineFileOptions;
  readonly #recovery: Recovery;
  #opened: Opened | undefined;
  #pending: Buffer[] = [];
  /** Bytes in `#pending`. */
  #waiting = 0;
  #writing: Promise<void> | undefined;
  /** Why the feed is stopped though its file is open: a write does not end. */
  #stall: string | undefined;
  /** Resolves when a write takes too long. */
  #stalls = Promise.withResolvers<void>();

  constructor(options: LineFileOptions) {
    const { name, file, log, retry } = options;
    this.#options = options;
    const open = async () => {
      this.#opened = await openLines(file);
    };
    this.#recovery = createRecovery({ name, place: file, log, retry, open });
  }

  /** The file; undefined while the feed is stopped. */
  get place(): string | undefined {
    return this.#stopped === undefined ? this.#options.file : undefined;
  }

  /** A line counts as a packet. */
  counters(): Omit<FeedCounters, "name" | "kind" | "sessions"> {
    const reason = this.#stopped;
    return { state: reason === undefined ? "running" : "stopped", reason, ...this.#counts };
  }

  get #stopped(): string | undefined {
    return this.#stall ?? this.#recovery.stopped;
  }

  start(): Promise<void> {
    return this.#recovery.start();
  }

  take(line: Buffer): void {
    if (this.#opened === undefined || this.#waiting + line.length > LIMIT) {
      this.#counts.dropped += 1;
      return;
    }
    this.#pending.push(line);
    this.#waiting += line.length;
    this.#writing ??= this.#writePending();
  }

  /** Writes the rest, unless the disk hangs: then that is done when it goes on. */
  async close(): Promise<void> {
    await this.#recovery.close();
    const rest = this.#closeWritten();
    if (this.#stall === undefined) await Promise.race([rest, this.#stalls.promise]);
  }

  async #closeWritten(): Promise<void> {
    await this.#writing;
    const handle = this.#opened?.handle;
    this.#opened = undefined;
    await handle?.close();
  }

  async #writePending(): Promise<void> {
    while (this.#pending.length > 0 && this.#opened !== undefined) {
      const lines = this.#pending;
      this.#pending = [];
      this.#waiting = 0;
      try {
        await this.#writeInTime(this.#opened, lines);
      } catch (error) {
        await this.#fail(error, lines.length);
      }
    }
    this.#writing = undefined;
  }

  /** Waits for the write also when it takes too long: its memory is in use until then. */
  async #writeInTime(opened: Opened, lines: readonly Buffer[]): Promise<void> {
    const { name, file, log, stall = STALL } = this.#options;
    const timer = setTimeout(() => {
      this.#stall = `a write has not ended for ${stall / 1000} s`;
      this.#stalls.resolve();
      log.error({ feed: name, place: file }, `feed stopped: ${this.#stall}`);
    }, stall).unref();
    try {
      await this.#write(opened, lines);
    } finally {
      clearTimeout(timer);
      // Otherwise it stays: whoever closes the file may wait for a write that comes after this one.
      if (this.#stall !== undefined) this.#stalls = Promise.withResolvers();
    }
    if (this.#stall !== undefined) log.info({ feed: name, place: file }, "feed runs again");
    this.#stall = undefined;
  }

  async #write(opened: Opened, lines: readonly Buffer[]): Promise<void> {
    const bytes = Buffer.concat(lines);
    let file = await this.#inPlace(opened, bytes.length);
    await append(file, bytes);
    // Another worker may have moved it away, to delete it at once: what was written behind that belongs into the next file.
    while (this.#options.keep === 1 && !(await isInPlace(file))) {
      file = await this.#reopen(file);
      await append(file, bytes);
    }
    file.size += bytes.length;
    this.#counts.packets += lines.length;
    this.#counts.bytes += bytes.length;
  }

  /** The opened file, or a new one when it was moved away, is too old, or has no room for `more` bytes. */
  async #inPlace(opened: Opened, more: number): Promise<Opened> {
    const now = performance.now();
    const seemsFull = !opened.isStuck && opened.size + more > this.#options.rotate;
    if (now - opened.looked < LOOK && !seemsFull) return opened;
    opened.looked = now;
    const found = await stat(opened.path).catch(() => undefined);
    if (found?.ino === opened.inode) {
      // Other workers append to it, too.
      opened.size = found.size;
      if (!this.#isFull(opened, more) || !(await this.#moveAway(opened))) return opened;
    }
    return await this.#reopen(opened);
  }

  async #reopen({ handle, path }: Opened): Promise<Opened> {
    await handle.close();
    this.#opened = await openLines(path);
    return this.#opened;
  }

  #isFull({ size, born }: Opened, more: number): boolean {
    const { rotate, rotateAfter } = this.#options;
    return size > 0 && (size + more > rotate || (rotateAfter !== undefined && Date.now() - born >= rotateAfter));
  }

  /** False: it cannot be moved, and goes on growing. Another worker may do the same at this moment. */
  async #moveAway(opened: Opened): Promise<boolean> {
    const { name, file, keep, worker, log } = this.#options;
    const { dir, name: stem, ext } = parse(file);
    const time = new Date().toISOString().replaceAll(/[-:]/g, "");
    const moved = join(dir, `${stem}-${time}-w${worker}${ext}`);
    try {
      await rename(file, moved);
      if ((await stat(moved)).ino === opened.inode)
        await prune(dir, { name: stem, extension: ext.slice(1), worker: 0, workers: 1, share: keep - 1 });
      else await putBack(moved, file);
      return true;
    } catch (error) {
      // Another worker was faster.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return true;
      if (!opened.isStuck) log.warn({ feed: name, place: file }, `the feed's file grows on: ${reasonOf(error)}`);
      opened.isStuck = true;
      return false;
    }
  }

  async #fail(error: unknown, lines: number): Promise<void> {
    const handle = this.#opened?.handle;
    this.#opened = undefined;
    this.#stall = undefined;
    this.#counts.dropped += lines + this.#pending.length;
    this.#pending = [];
    this.#waiting = 0;
    await handle?.close().catch(() => undefined);
    this.#recovery.fail(error);
  }
}

interface Opened {
  readonly path: string;
  readonly handle: FileHandle;
  readonly inode: number;
  /** Bytes in it, as far as is known. */
  size: number;
  /** ms since the epoch. */
  readonly born: number;
  /** It could not be moved away, which the log has said. */
  isStuck: boolean;
  looked: number;
}

/** Opens the file with mode 0600, and not through a symbolic link, which another user may have made. Throws the system's errors. */
async function openLines(path: string): Promise<Opened> {
  await makeFolder(dirname(path));
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants;
  const handle = await open(path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0o600);
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw new Error("it is not a file");
    await handle.chmod(0o600);
    // Some file systems do not keep when a file was made.
    const born = found.birthtimeMs || Date.now();
    const { ino: inode, size } = found;
    const file = { path, handle, inode, size, born, isStuck: false, looked: performance.now() };
    // A full disk may have cut the last line. End it, so that the next line can be read.
    // In one that was empty it would be looked for in the middle of what another worker has written since.
    if (size > 0 && (await byteAt(handle, size - 1)) !== NEWLINE) await append(file, Buffer.from([NEWLINE]));
    return file;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

const NEWLINE = 10;

async function byteAt(handle: FileHandle, position: number): Promise<number | undefined> {
  return (await handle.read(Buffer.alloc(1), 0, 1, position)).buffer[0];
}

/** The new file of a worker that was faster gets its name back. If there is a newer one already, it stays among the older ones. */
async function putBack(moved: string, file: string): Promise<void> {
  await link(moved, file).then(
    () => rm(moved, { force: true }),
    () => undefined,
  );
}

/** Appends whole lines with one call, so that the lines of other workers never come in between. */
async function append({ handle }: Opened, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, bytes.length - done, null)).bytesWritten;
}
