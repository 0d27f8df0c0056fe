import { access, constants } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { makeFolder } from "../linux/folder.ts";
import { type Block, newPages, PAGE } from "./block.ts";
import {
  append,
  type CaptureFile,
  createFile,
  discard,
  finish,
  isInPlace,
  LARGE,
  prune,
  reasonOf,
} from "./capture-file.ts";

/** Bytes of one write. Smaller writes cost more calls, larger ones leave the processor's cache: 0.05 s of CPU per GiB each. */
const BLOCK_SIZE = 512 * 1024;
const MIB = 1024 * 1024;
/** More waiting bytes than this are pressure, until half of them are written. They stay in the processor's cache. */
const PRESSURE = 4 * MIB;
/** The shortest filler, in bytes; it has room behind the records of a block. */
const SMALLEST_FILLER = 12;
const MOST_USED = BLOCK_SIZE - PAGE - SMALLEST_FILLER;
/** The most blocks in one write. */
const MOST_BLOCKS = PRESSURE / BLOCK_SIZE;
/** Written blocks that are kept for the next bytes: a new one costs the kernel more than a copy of its bytes. */
const SPARE_BLOCKS = 2 * MOST_BLOCKS;
/** Records above this are left out: the bound for callers that ignore the pressure. */
const LIMIT = 64 * MIB;
/** Records are written after this time at most, in ms. */
const QUIET = 200;
/** Records of a session that ended are written after this time, in ms, so that many ends share one write. */
const SETTLE = 20;
/** Another program may move the file away. Checked at most once in this time, in ms. */
const LOOK = 1000;
/** ms until a stopped feed tries again: longer when it ran for less than `lasting`, so that a full disk does not see a new file each time. */
const RETRY = { after: 5_000, relapsed: 30_000, lasting: 60_000 };

/** ms that a write may take. A disk that hangs, or a server of files that is gone, must not hold sessions. */
const STALL = 10_000;

export interface RotatingFilesOptions {
  readonly name: string;
  readonly directory: string;
  /** The largest size of a file, in bytes, unless one record is larger. */
  readonly rotate: number;
  /** The greatest age of a file, in ms: the next record begins a new file. Undefined: any age. */
  readonly rotateAfter?: number | undefined;
  /** How many files all workers keep; each worker keeps its share. */
  readonly keep: number;
  /** This worker's number, from 0, and how many there are. */
  readonly worker: number;
  readonly workers: number;
  readonly extension: string;
  /** The beginning of every file. */
  readonly preamble: Buffer;
  /** A record of exactly this length, at least `SMALLEST_FILLER`, that readers skip. Absent: nothing fills files up to whole pages. */
  readonly filler?: ((length: number) => Buffer) | undefined;
  readonly log: Logger;
  /** ms until a stopped feed tries again; `RETRY` when absent. */
  readonly retry?: number;
  /** ms that a write may take; `STALL` when absent. */
  readonly stall?: number;
}

/** A file for placing records. It has its name at once; the writer creates it on disk later. */
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
 * Writes records to a series of files, in large pieces of whole records. Placing a record is synchronous and cheap; writing
 * is asynchronous. When writing fails, the feed stops: placing answers -1, and after a while a new file is tried.
 */
export class RotatingFiles {
  readonly #options: RotatingFilesOptions;
  block = newPages(BLOCK_SIZE);
  /** Goes up with each new file. */
  generation = 0;
  /** Why the feed is stopped; undefined: it runs. */
  stopped: string | undefined;
  /** Records and bytes that were written, and records that were left out. */
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
  #pause = RETRY.after;
  #resumed = Number.NEGATIVE_INFINITY;
  #closed = false;
  /** Resolves when a write takes too long. */
  #stalls = Promise.withResolvers<void>();
  #open: CaptureFile | undefined;
  #looked = 0;

  constructor(options: RotatingFilesOptions) {
    this.#options = options;
  }

  /** Makes the directory. Never rejects: on failure the feed starts stopped. */
  async start(): Promise<void> {
    try {
      await makeFolder(this.#options.directory);
      await access(this.#options.directory, constants.W_OK | constants.X_OK);
    } catch (error) {
      await this.#fail(error);
    }
  }

  /** The file of the next record. Undefined while stopped or closed. */
  place(): string | undefined {
    if (this.stopped !== undefined || this.#closed) return undefined;
    return this.#current().path;
  }

  /** Begins a new file when the current one is too old or has no room for `length` more bytes. */
  turn(length: number): void {
    if (this.stopped !== undefined || this.#closed) return;
    const file = this.#current();
    const { rotate, rotateAfter, preamble } = this.#options;
    const full = file.size + length > rotate && file.size > preamble.length;
    if (full || (rotateAfter !== undefined && Date.now() - this.#stamp >= rotateAfter)) this.#begin();
  }

  /** Makes room for one record of `length` bytes, a multiple of four, and answers its offset in `block`; -1: leave it out. */
  room(length: number): number {
    if (this.stopped !== undefined || this.#closed || this.#queued + this.#used > LIMIT) {
      this.dropped += 1;
      return -1;
    }
    const file = this.#current();
    if (this.#used + length > MOST_USED) this.#sealPages(length);
    if (this.#used === 0) this.#flushIn(QUIET);
    const at = this.#used;
    this.#used += length;
    this.#placed += 1;
    file.size += length;
    return at;
  }

  /** Writes the placed records soon, before the quiet time ends. */
  settle(): void {
    if (this.#used > 0) this.#flushIn(SETTLE);
  }

  /** Resolves when half of the waiting bytes are written, or the feed stops or closes. */
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
    await Promise.race([this.#writing, this.#stalls.promise]);
    if (this.#writing === undefined) await this.#finish().catch((error: unknown) => this.#fail(error));
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

  /** Only one timer runs, for the earliest time that was asked for. */
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
    // While the disk is busy, fill the block instead of queueing a nearly empty one.
    if (this.#writing !== undefined) this.#flushing = true;
    else this.#sealPages();
  }

  /**
   * Hands the block to the writer. A large one ends with a page of the file, so that the next one can bypass the page cache; the file
   * has room for `next` bytes more.
   */
  #sealPages(next = 0): void {
    const { filler, rotate } = this.#options;
    const file = this.#file;
    const length = file === undefined ? 0 : fillLength(file.size);
    if (filler && file && length > 0 && this.#used >= LARGE && file.size + length + next <= rotate) {
      this.block.bytes.set(filler(length), this.#used);
      this.#used += length;
      file.size += length;
    }
    this.#seal();
  }

  /** Hands the block to the writer. */
  #seal(): void {
    if (this.#used === 0 || this.#file === undefined) return;
    this.#queue.push({ file: this.#file, block: this.block, length: this.#used, records: this.#placed });
    this.#queued += this.#used;
    this.#used = 0;
    this.#placed = 0;
    this.#flushing = false;
    this.block = this.#spare.pop() ?? newPages(BLOCK_SIZE);
    this.#writing ??= this.#writeQueue();
  }

  async #writeQueue(): Promise<void> {
    try {
      for (let [job] = this.#queue; job !== undefined; [job] = this.#queue) {
        // All that waits for one file is one write.
        const { file } = job;
        const next = this.#queue.findIndex((other) => other.file !== file);
        const jobs = this.#queue.slice(0, next < 0 ? MOST_BLOCKS : Math.min(next, MOST_BLOCKS));
        await this.#writeInTime(file, jobs);
        this.#queue.splice(0, jobs.length);
        for (const { block, length } of jobs) {
          this.#queued -= length;
          if (this.#spare.length < SPARE_BLOCKS) this.#spare.push(block);
        }
        if (this.#queued + this.#used <= PRESSURE / 2) this.#relieve();
        if (this.#flushing && this.#queue.length === 0) this.#sealPages();
      }
    } catch (error) {
      await this.#fail(error);
    }
    this.#writing = undefined;
  }

  /** Waits for the write also when it takes too long: its memory is in use until then. */
  async #writeInTime(file: File, jobs: readonly Job[]): Promise<void> {
    const { name, log, stall = STALL } = this.#options;
    const timer = setTimeout(() => this.#stop(file, jobs.length, stall), stall).unref();
    try {
      await this.#write(file, jobs);
    } finally {
      clearTimeout(timer);
      this.#stalls = Promise.withResolvers();
    }
    if (this.stopped === undefined) return;
    this.stopped = undefined;
    this.#resumed = performance.now();
    log.info({ feed: name, place: file.path }, "feed runs again");
    if (this.#closed) await this.#finish();
  }

  /** Stops the feed until the write has ended. Waiting records are lost, but for those of the first `writing` jobs. */
  #stop({ path }: File, writing: number, stall: number): void {
    const { name, log } = this.#options;
    const lost = this.#queue.splice(writing);
    this.dropped += lost.reduce((total, job) => total + job.records, this.#placed);
    this.#queued -= lost.reduce((total, { length }) => total + length, 0);
    [this.#used, this.#placed, this.#flushing, this.#file] = [0, 0, false, undefined];
    this.stopped = `a write has not ended for ${stall / 1000} s`;
    this.#stalls.resolve();
    this.#relieve();
    log.error({ feed: name, place: path }, `feed stopped: ${this.stopped}`);
  }

  async #write(place: File, jobs: readonly Job[]): Promise<void> {
    const { directory, keep, workers } = this.#options;
    const file = await this.#opened(place);
    const first = file.records === 0;
    const records = jobs.reduce((total, job) => total + job.records, 0);
    const pieces = jobs.map(({ block, length }) => block.bytes.subarray(0, length));
    await append(file, pieces, records, this.#queued < PRESSURE);
    this.records += records;
    this.bytes += jobs.reduce((total, { length }) => total + length, 0);
    if (first) await prune(directory, { ...this.#options, share: Math.max(1, Math.ceil(keep / workers)) });
  }

  /** Opens the job's file. A file that was moved away or deleted is created again. */
  async #opened({ path }: File): Promise<CaptureFile> {
    const { name, preamble, filler, log } = this.#options;
    if (this.#open?.path === path) {
      const now = performance.now();
      if (now - this.#looked < LOOK) return this.#open;
      this.#looked = now;
      if (await isInPlace(this.#open)) return this.#open;
      log.warn({ feed: name, place: path }, "the feed's file was moved or deleted; it is created again");
      this.generation += 1;
    }
    await this.#finish();
    this.#open = await createFile(path, preamble, filler !== undefined);
    this.#looked = performance.now();
    return this.#open;
  }

  async #finish(): Promise<void> {
    const file = this.#open;
    this.#open = undefined;
    if (file !== undefined) await finish(file);
  }

  /** Stops the feed. Waiting records are lost: they must hold neither sessions nor memory. */
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
    if (!known) {
      this.#pause = performance.now() - this.#resumed < RETRY.lasting ? RETRY.relapsed : RETRY.after;
      log.error({ feed: name, place }, `feed stopped: ${this.stopped}`);
    }
    if (this.#closed) return;
    this.#retry = setTimeout(() => {
      this.#writing ??= this.#tryAgain();
    }, retry ?? this.#pause);
    this.#retry.unref();
  }

  /** Runs again when a new file can be made. */
  async #tryAgain(): Promise<void> {
    try {
      const { path } = await this.#opened(this.#begin());
      this.stopped = undefined;
      this.#resumed = performance.now();
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

/** What is missing from a whole number of pages, where a filler fits. */
function fillLength(size: number): number {
  const missing = (PAGE - (size % PAGE)) % PAGE;
  return missing > 0 && missing < SMALLEST_FILLER ? missing + PAGE : missing;
}
