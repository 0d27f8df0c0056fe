import { InvariantError } from "../errors.ts";

/** Writes the presentation language of RFC 8446, section 3. A vector is its length, then its parts. */

export function u8(value: number): Buffer {
  return number(value, 1);
}

export function u16(value: number): Buffer {
  return number(value, 2);
}

export function u16s(values: readonly number[]): Buffer {
  return Buffer.concat(values.map(u16));
}

/** A vector with a one-byte length. */
export function vector8(...parts: readonly Uint8Array[]): Buffer {
  return vector(1, parts);
}

/** A vector with a two-byte length. */
export function vector16(...parts: readonly Uint8Array[]): Buffer {
  return vector(2, parts);
}

/** A vector with a three-byte length. */
export function vector24(...parts: readonly Uint8Array[]): Buffer {
  return vector(3, parts);
}

function vector(width: 1 | 2 | 3, parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  return Buffer.concat([number(content.length, width), content]);
}

function number(value: number, width: 1 | 2 | 3): Buffer {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * width)) {
    throw new InvariantError(`Cannot write ${value} into ${width} bytes`);
  }
  // From the pool, unlike `alloc`: all of it is written.
  const bytes = Buffer.allocUnsafe(width);
  bytes.writeUIntBE(value, 0, width);
  return bytes;
}
