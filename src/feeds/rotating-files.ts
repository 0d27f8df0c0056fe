import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { makeFolder } from "../linux/folder.ts";
import { append, type CaptureFile, createFile, discard, finish, isInPlace, prune, reasonOf } from "./capture-file.ts";
import { type Block, newBlock } from "./segments.ts";

const BLOCK_SIZE = 256 * 1024;
const SPARE_BLOCKS = 8;
const MIB = 1024 * 1024;
/** More than this waiting to be written is pressure, until half of it is written. */
const PRESSURE = 16 * MIB;
/** More than this is left out: a bound for writers that did not heed the pressure. */
const LIMIT = 4 * PRESSURE;
/** What was placed is written at the latest after this time, in ms. */
const QUIET = 200;
/** A session that ended is written after this time, in ms: many ends share one write. */
const SETTLE = 20;
/** The file may be moved away under us: looked at no more often than this, in ms. */
const LOOK = 1000;
const RETRY = 30_000;

export interface RotatingFilesOptions {
  readonly name: string;
  readonly directory: string;
  /** No file grows longer than this many bytes, unless one record does. */
  readonly rotate: number;
  /** ms after which a file is followed by the next, when there is something to write; undefined: however old it is. */
  readonly rotateAfter?: number | undefined;
  /** Files kept in all; each worker keeps its share. */
  readonly keep: number;
  /** This worker's number, from 0, and how many there are. */
  readonly worker: number;
  readonly workers: number;
  readonly extension: string;
  /** What every file begins with. */
  readonly preamble: Buffer;
  readonly log: Logger;
  /** ms until a stopped feed tries again; 30 s when absent. */
  readonly retry?: number;
}

/** A file as placing sees it: made by name at once, on disk when the writer comes to it. */
interface File {
  readonly path: string;
  /** Bytes placed for it, written or not. */
  size: number;
}

interface Job {
  readonly file: File;
  readonly block: Block;
  readonly length: number;
  readonly records: number;
}

/**
 * Records into files that follow each other, written in large pieces that hold whole records only. Placing is
 * synchronous and cheap; writing happens beside it. When writing fails, everything stops, placing answers -1, and
 * after a while a new file is tried.
 */
export class RotatingFiles {
  readonly #options: RotatingFilesOptions;
  block = newBlock(BLOCK_SIZE);
  /** Goes up with each new file. */
  generation = 0;
  /** Why nothing is written now. */
  stopped: string | undefined;
  /** Records and bytes that are in files, and records that were left out. */
  records = 0;
  bytes = 0;
  dropped = 0;

  #used = 0;
  #placed = 0;
  #file: File | undefined;
  #stamp = 0;
  readonly #queue: Job[] = [];
  #queued = 0;
  readonly #spare: Block[] = [];
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;
  #flushing = false;
  #writing: Promise<void> | undefined;
  #relief: PromiseWithResolvers<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  #open: CaptureFile | undefined;
  #looked = 0;

  constructor(options: RotatingFilesOptions) {
    this.#options = options;
  }

  /** Makes the directory. When that fails it starts stopped: no throw. */
  async start(): Promise<void> {
    try {
      await makeFolder(this.#options.directory);
      await access(this.#options.directory, constants.W_OK | constants.X_OK);
    } catch (error) {
      await this.#fail(error);
    }
  }

  /** The file that the next record goes to. Undefined while stopped or closed. */
  place(): string | undefined {
    if (this.stopped !== undefined || this.#closed) return undefined;
    return this.#current().path;
  }

  /** Starts a new file when the present one is too old or has no room for `length` more bytes. */
  turn(length: number): void {
    if (this.stopped !== undefined || this.#closed) return;
    const file = this.#current();
    const { rotate, rotateAfter, preamble } = this.#options;
    const full = file.size + length > rotate && file.size > preamble.length;
    if (full || (rotateAfter !== undefined && Date.now() - this.#stamp >= rotateAfter)) this.#begin();
  }

  /** Makes room for one record of `length` bytes, a multiple of four, and answers its offset in `block`; -1 to leave it out. */
  room(length: number): number {
    if (this.stopped !== undefined || this.#closed || this.#queued + this.#used > LIMIT) {
      this.dropped += 1;
      return -1;
    }
    const file = this.#current();
    if (this.#used + length > BLOCK_SIZE) this.#seal();
    if (this.#used === 0) this.#flushIn(QUIET);
    const at = this.#used;
    this.#used += length;
    this.#placed += 1;
    file.size += length;
    return at;
  }

  /** Writes what was placed soon, not at the end of the quiet time. */
  settle(): void {
    if (this.#used > 0) this.#flushIn(SETTLE);
  }

  /** Resolves when half of what waits is written, or there is no more use in waiting. */
  pressure(): Promise<void> | undefined {
    if (this.#queued + this.#used <= PRESSURE || this.stopped !== undefined || this.#closed) return undefined;
    this.#relief ??= Promise.withResolvers<void>();
    return this.#relief.promise;
  }

  /** Writes the rest. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#seal();
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    await this.#writing;
    await this.#finish().catch((error: unknown) => this.#fail(error));
    this.#relieve();
  }

  #current(): File {
    return this.#file ?? this.#begin();
  }

  #begin(): File {
    this.#seal();
    this.#stamp = Math.max(Date.now(), this.#stamp + 1);
    this.generation += 1;
    const { directory, name, worker, extension, preamble } = this.#options;
    const time = new Date(this.#stamp).toISOString().replaceAll(/[-:]/g, "");
    this.#file = { path: join(directory, `${name}-${time}-w${worker}.${extension}`), size: preamble.length };
    return this.#file;
  }

  /** Only one timer runs, for the earliest wish. */
  #flushIn(delay: number): void {
    const due = performance.now() + delay;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#flush(), delay);
    this.#timer.unref();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#due = Number.POSITIVE_INFINITY;
    // A slow disk gets full blocks, never a queue of nearly empty ones.
    if (this.#writing !== undefined) this.#flushing = true;
    else this.#seal();
  }

  /** Hands the block to the writer. */
  #seal(): void {
    if (this.#used === 0 || this.#file === undefined) return;
    this.#queue.push({ file: this.#file, block: this.block, length: this.#used, records: this.#placed });
    this.#queued += this.#used;
    this.#used = 0;
    this.#placed = 0;
    this.#flushing = false;
    this.block = this.#spare.pop() ?? newBlock(BLOCK_SIZE);
    this.#writing ??= this.#writeQueue();
  }

  async #writeQueue(): Promise<void> {
    try {
      for (let job = this.#queue[0]; job !== undefined; job = this.#queue[0]) {
        await this.#write(job);
        this.#queue.shift();
        this.#queued -= job.length;
        if (this.#spare.length < SPARE_BLOCKS) this.#spare.push(job.block);
        if (this.#queued + this.#used <= PRESSURE / 2) this.#relieve();
        if (this.#flushing && this.#queue.length === 0) this.#seal();
      }
    } catch (error) {
      await this.#fail(error);
    }
    this.#writing = undefined;
  }

  async #write(job: Job): Promise<void> {
    const { directory, keep, workers } = this.#options;
    const file = await this.#opened(job.file);
    const first = file.records === 0;
    await append(file, job.block.bytes.subarray(0, job.length), job.records);
    this.records += job.records;
    this.bytes += job.length;
    if (first) await prune(directory, { ...this.#options, share: Math.max(1, Math.ceil(keep / workers)) });
  }

  /** The job's file, still where its name says: one that was moved away or deleted is made again. */
  async #opened({ path }: File): Promise<CaptureFile> {
    const { name, preamble, log } = this.#options;
    if (this.#open?.path === path) {
      const now = performance.now();
      if (now - this.#looked < LOOK) return this.#open;
      this.#looked = now;
      if (await isInPlace(this.#open)) return this.#open;
      log.warn({ feed: name, place: path }, "the feed's file was taken away and is made again");
      this.generation += 1;
    }
    await this.#finish();
    this.#open = await createFile(path, preamble);
    this.#looked = performance.now();
    return this.#open;
  }

  async #finish(): Promise<void> {
    const file = this.#open;
    this.#open = undefined;
    if (file !== undefined) await finish(file);
  }

  /** What waits is lost: a feed that cannot write must not hold the sessions, nor memory. */
  async #fail(error: unknown): Promise<void> {
    const { name, log, retry } = this.#options;
    const known = this.stopped !== undefined;
    const place = this.#file?.path;
    this.stopped = reasonOf(error);
    this.dropped += this.#queue.reduce((total, job) => total + job.records, this.#placed);
    this.#queue.length = 0;
    this.#queued = 0;
    this.#used = 0;
    this.#placed = 0;
    this.#file = undefined;
    this.#relieve();
    const failed = this.#open;
    this.#open = undefined;
    if (failed !== undefined) await discard(failed);
    if (!known) log.error({ feed: name, place }, `feed stopped: ${this.stopped}`);
    if (this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#writing ??= this.#tryAgain();
    }, retry ?? RETRY);
    this.#retry.unref();
  }

  /** Runs again when a new file can be made. */
  async #tryAgain(): Promise<void> {
    try {
      const { path } = await this.#opened(this.#begin());
      this.stopped = undefined;
      this.#options.log.info({ feed: this.#options.name, place: path }, "feed runs again");
    } catch (error) {
      await this.#fail(error);
    }
    this.#writing = undefined;
  }

  #relieve(): void {
    this.#relief?.resolve();
    this.#relief = undefined;
  }
}
