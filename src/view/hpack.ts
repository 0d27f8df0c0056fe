import { FIELD_LIMIT, type Field, HEAD_LIMIT, Unreadable } from "./messages.ts";
import { addressOf, copyFrom, hpack, memory } from "./native.ts";

/** HPACK (RFC 7541), read by nghttp2's decoder, which is in Node. */

/** The largest dynamic table that the decoder keeps, whatever the peers agreed on. */
const TABLE_LIMIT = 64 * 1024;
/** NGHTTP2_HD_INFLATE_*. */
const [FINAL, EMIT] = [1, 2];

/** nghttp2_nv: name, value, their lengths, flags. One call is under way at any time. */
const pair = memory(40);
const flags = memory(4);

/** The decoder of one direction. `close` frees its memory, which is C's. */
export class HpackReader {
  #decoder: number;
  #table = 4096;

  constructor() {
    const pointer = memory(8);
    if (hpack.create!(pointer) !== 0) throw new Unreadable("no memory for an HPACK decoder");
    this.#decoder = Number(pointer.readBigUInt64LE());
  }

  /** The reader of the fields has acknowledged SETTINGS_HEADER_TABLE_SIZE. */
  resize(size: number): void {
    if (this.#decoder === 0) return;
    this.#table = Math.min(size, TABLE_LIMIT);
    hpack.resize!(this.#decoder, this.#table);
  }

  /** The most bytes that its table holds. */
  get weight(): number {
    return this.#table;
  }

  /** Reads a whole field block. Throws Unreadable where it is not HPACK, and where it expands too far. */
  read(block: Buffer): Field[] {
    const fields: Field[] = [];
    const start = addressOf(block);
    let total = 0;
    for (let at = 0; ; ) {
      const taken = hpack.read!(this.#decoder, pair, flags, start + at, block.length - at, 1);
      if (taken < 0) throw new Unreadable(`a field block is not HPACK (nghttp2: ${taken})`);
      at += taken;
      const flag = flags.readInt32LE();
      if (flag & EMIT) {
        const [nameLength, valueLength] = [Number(pair.readBigUInt64LE(16)), Number(pair.readBigUInt64LE(24))];
        total += nameLength + valueLength + 32;
        if (total > HEAD_LIMIT || fields.length >= FIELD_LIMIT)
          throw new Unreadable(`a field block expands to more than ${HEAD_LIMIT} bytes or ${FIELD_LIMIT} fields`);
        fields.push([textAt(0, nameLength), textAt(8, valueLength)]);
      }
      if (flag & FINAL) {
        hpack.end!(this.#decoder);
        return fields;
      }
      if (taken === 0 && !(flag & EMIT)) throw new Unreadable("a field block ends in the middle of a field");
    }
  }

  close(): void {
    if (this.#decoder === 0) return;
    hpack.destroy!(this.#decoder);
    this.#decoder = 0;
  }
}

function textAt(offset: number, length: number): string {
  return copyFrom(Number(pair.readBigUInt64LE(offset)), length).toString("latin1");
}
