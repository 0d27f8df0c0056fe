import { randomBytes } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { malformed, TAG } from "../x509/der.ts";
import { unusable } from "./revocation-answer.ts";

/**
 * Finds the serial numbers of a revocation list in constant time. A list of 10 MB has 300,000 entries, so the index makes
 * no object for each: it keeps only the offsets at which they begin.
 */
export interface SerialIndex {
  /** The entry with this serial number (its DER contents), a whole element; undefined: it is not in the list. */
  find(serial: Buffer): Buffer | undefined;
  /** Bytes of the index, without the list. */
  readonly bytes: number;
}

/** After this many entries, about a millisecond, the event loop gets a turn. */
const SLICE = 2_048;
/** In bytes: a SEQUENCE of an INTEGER and a UTCTime. */
const SMALLEST_ENTRY = 2 + 3 + 15;

/** With a random seed nobody can choose serial numbers that collide. */
const SEED = randomBytes(4).readUInt32LE();

/**
 * Indexes the contents of revokedCertificates: RFC 5280, section 5.1.2.6. Throws PeerError when they are not DER, and for
 * a critical extension of an entry, with which the list must not be used for any certificate (section 5.3).
 */
export async function indexSerials(list: Buffer): Promise<SerialIndex> {
  const most = Math.ceil(list.length / SMALLEST_ENTRY);
  // Open addressing with linear probing, at most half full. An entry is its offset plus one; 0 is empty.
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
    if (read % SLICE === 0) await nextTurn();
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

/** The offset of the serial number of the entry at `at`. Checks the whole entry. */
function serialOf(list: Buffer, at: number): number {
  const end = endAt(list, at);
  const serial = contentsAt(list, at);
  if (list[at] !== TAG.sequence || end > list.length || list[serial] !== TAG.integer) {
    throw malformed("an entry of revokedCertificates does not begin with an INTEGER in a SEQUENCE");
  }
  const time = endAt(list, serial);
  if (time >= end || (list[time] !== TAG.utcTime && list[time] !== TAG.generalizedTime)) {
    throw malformed("revocationDate of an entry is not a UTCTime or GeneralizedTime");
  }
  const extensions = endAt(list, time);
  if (extensions === end) return serial;
  if (extensions > end || list[extensions] !== TAG.sequence || endAt(list, extensions) !== end) {
    throw malformed("crlEntryExtensions of an entry is not a SEQUENCE");
  }
  for (let extension = contentsAt(list, extensions); extension < end; extension = endAt(list, extension)) {
    const oid = contentsAt(list, extension);
    const next = endAt(list, oid);
    if (list[extension] !== TAG.sequence || list[oid] !== TAG.oid || next >= end) {
      throw malformed("an extension of an entry is not an OBJECT IDENTIFIER and a value in a SEQUENCE");
    }
    if (list[next] === TAG.boolean && list[next + 2] !== 0) {
      throw unusable("an entry of the list has a critical extension");
    }
  }
  return serial;
}

/** The offset of the contents of the element at `at`. */
function contentsAt(list: Buffer, at: number): number {
  const first = list[at + 1]!;
  return at + 2 + (first < 0x80 ? 0 : first & 0x7f);
}

/** The offset behind the element at `at`. */
function endAt(list: Buffer, at: number): number {
  const first = list[at + 1];
  if (first === undefined) throw notDer();
  if (first < 0x80) return at + 2 + first;
  const size = first & 0x7f;
  if (size === 0 || size > 3 || at + 2 + size > list.length) throw notDer();
  const length = list.readUIntBE(at + 2, size);
  if (length < 0x80 || length < 2 ** (8 * (size - 1))) throw notDer();
  return at + 2 + size + length;
}

function notDer() {
  return malformed("an entry of revokedCertificates is not DER");
}

/** FNV-1a with the seed. */
function hash(bytes: Buffer, from: number, to: number): number {
  let value = 0x811c9dc5 ^ SEED;
  for (let at = from; at < to; at += 1) value = Math.imul(value ^ bytes[at]!, 0x01000193);
  return (value ^ (value >>> 15)) >>> 0;
}
