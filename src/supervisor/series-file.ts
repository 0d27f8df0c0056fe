import { closeSync, fstatSync, ftruncateSync, openSync, readSync, write, writeSync } from "node:fs";
import { promisify } from "node:util";
import { crc32 } from "node:zlib";
import { type Ring, STEPS, WIDTH } from "../sessions/series.ts";

/**
 * The ring of series on disk: as many places as the ring has steps, of which each write replaces one. A place that a crash left half
 * written fails its checksum, and counts as empty.
 */

/** With the layout of the columns: a file of another one is begun anew. */
const HEADER = Buffer.from(`clearline series 1 ${WIDTH}`.padEnd(32, "\n"));
/** The step, its values, and their checksum. */
const PLACE = (WIDTH + 2) * 8;
const SIZE = HEADER.length + STEPS * PLACE;

export interface SeriesFile {
  /** Resolves once it is written, which on a disk that hangs may be never. Rejects with what the file system says. */
  write(step: number, values: Float64Array): Promise<void>;
  close(): void;
}

const writeBytes = promisify(write);

/** Opens or makes the file, and reads what it has into the ring: steps up to `now`, a step's number. Throws what the file system throws. */
export function openSeriesFile(path: string, ring: Ring, now: number): SeriesFile {
  const file = openSync(path, "a+", 0o600);
  closeSync(file);
  const opened = openSync(path, "r+");
  const bytes = Buffer.alloc(SIZE);
  const isOurs =
    fstatSync(opened).size === SIZE && readSync(opened, bytes, 0, SIZE, 0) === SIZE && bytes.indexOf(HEADER) === 0;
  if (isOurs) readPlaces(bytes, ring, now);
  else {
    ftruncateSync(opened, 0);
    ftruncateSync(opened, SIZE);
    writeSync(opened, HEADER, 0, HEADER.length, 0);
  }
  return {
    async write(step, values) {
      const place = placeOf(step, values);
      await writeBytes(opened, place, 0, place.length, HEADER.length + (step % STEPS) * PLACE);
    },
    close: () => closeSync(opened),
  };
}

function readPlaces(bytes: Buffer, ring: Ring, now: number): void {
  for (let at = HEADER.length; at < SIZE; at += PLACE) {
    const step = bytes.readDoubleLE(at);
    // Neither what is too old, nor what a clock that was ahead has written.
    if (!(step > now - STEPS && step <= now)) continue;
    const end = at + PLACE - 8;
    if (bytes.readDoubleLE(end) !== crc32(bytes.subarray(at, end))) continue;
    ring.keep(
      step,
      Float64Array.from({ length: WIDTH }, (_, index) => bytes.readDoubleLE(at + 8 + index * 8)),
    );
  }
}

function placeOf(step: number, values: Float64Array): Buffer {
  const place = Buffer.alloc(PLACE);
  place.writeDoubleLE(step, 0);
  for (const [index, value] of values.entries()) place.writeDoubleLE(value, 8 + index * 8);
  place.writeDoubleLE(crc32(place.subarray(0, PLACE - 8)), PLACE - 8);
  return place;
}
