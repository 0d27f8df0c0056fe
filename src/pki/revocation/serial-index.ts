import { randomBytes } from "node:crypto";
import { setImmediate as breathe } from "node:timers/promises";
import { malformed, TAG } from "../x509/der.ts";
import { notBelieved } from "./revocation-answer.ts";

/**
 * The serial numbers of a revocation list, found in constant time. A list of 10 MB has 300,000 entries: they stay the
 * bytes that they are, and only where each begins is kept.
 */
export interface SerialIndex {
  /** The entry, a whole element, by the serial number's contents as they stand; undefined: it is not in the list. */
  find(serial: Buffer): Buffer | undefined;
  /** Bytes that it keeps beside the list itself. */
  readonly bytes: number;
}

/** Entries that are read before others get their turn: about a millisecond. */
const SLICE = 2_048;
/** A SEQUENCE of an INTEGER and a UTCTime. */
const SMALLEST_ENTRY = 2 + 3 + 15;

/** So that nobody can choose serial numbers that fall together. */
const SEED = randomBytes(4).readUInt32LE();

/**
 * Reads the contents of revokedCertificates: RFC 5280, section 5.1.2.6. Throws PeerError when they are not DER, and for
 * an entry with a critical extension: then the list cannot be used for any certificate (section 5.3).
 */
export async function indexSerials(list: Buffer): Promise<SerialIndex> {
  const most = Math.ceil(list.length / SMALLEST_ENTRY);
  // Open addressing, never more than half full; 0 is an empty place.
  const places = new Uint32Array(2 ** Math.ceil(Math.log2(2 * most + 2)));
  const mask = places.length - 1;
  let read = 0;
  for (let at = 0; at < list.length; ) {
    const serial = serialOf(list, at);
    let place = hash(list, contentsAt(list, serial), endAt(list, serial)) & mask;
    while (places[place] !== 0) place = (place + 1) & mask;
    places[place] = at + 1;
    at = endAt(list, at);
    read += 1;
    if (read % SLICE === 0) await breathe();
  }
  return {
    bytes: places.byteLength,
    find(serial) {
      for (let place = hash(serial, 0, serial.length) & mask; places[place] !== 0; place = (place + 1) & mask) {
        const at = places[place]! - 1;
        const found = contentsAt(list, at);
        if (list.subarray(contentsAt(list, found), endAt(list, found)).equals(serial)) {
          return list.subarray(at, endAt(list, at));
        }
      }
      return undefined;
    },
  };
}

/** Where the serial number of the entry at `at` begins. The whole entry is looked at. */
function serialOf(list: Buffer, at: number): number {
  const end = endAt(list, at);
  const serial = contentsAt(list, at);
  if (list[at] !== TAG.sequence || end > list.length || list[serial] !== TAG.integer) throw notAnEntry();
  const time = endAt(list, serial);
  if (time >= end || (list[time] !== TAG.utcTime && list[time] !== TAG.generalizedTime)) throw notAnEntry();
  const extensions = endAt(list, time);
  if (extensions === end) return serial;
  if (extensions > end || list[extensions] !== TAG.sequence || endAt(list, extensions) !== end) throw notAnEntry();
  for (let extension = contentsAt(list, extensions); extension < end; extension = endAt(list, extension)) {
    const oid = contentsAt(list, extension);
    const next = endAt(list, oid);
    if (list[extension] !== TAG.sequence || list[oid] !== TAG.oid || next >= end) throw notAnEntry();
    if (list[next] === TAG.boolean && list[next + 2] !== 0) {
      throw notBelieved("one of the list's entries has an extension that must be understood, and is not");
    }
  }
  return serial;
}

/** Where the contents of the element at `at` begin, and where it ends. Nothing is made for it: there are many. */
function contentsAt(list: Buffer, at: number): number {
  const first = list[at + 1]!;
  return at + 2 + (first < 0x80 ? 0 : first & 0x7f);
}

function endAt(list: Buffer, at: number): number {
  const first = list[at + 1];
  if (first === undefined) throw notAnEntry();
  if (first < 0x80) return at + 2 + first;
  const size = first & 0x7f;
  if (size === 0 || size > 3 || at + 2 + size > list.length) throw notAnEntry();
  const length = list.readUIntBE(at + 2, size);
  if (length < 0x80 || length < 2 ** (8 * (size - 1))) throw notAnEntry();
  return at + 2 + size + length;
}

function notAnEntry() {
  return malformed("an entry of the list is not one");
}

/** FNV-1a. */
function hash(bytes: Buffer, from: number, to: number): number {
  let value = 0x811c9dc5 ^ SEED;
  for (let at = from; at < to; at += 1) value = Math.imul(value ^ bytes[at]!, 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}
