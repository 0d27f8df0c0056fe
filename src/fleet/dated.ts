/** A value in the store, with its times in ms since the epoch. They are sealed with it, because the store may answer with old values. */
export interface Dated {
  /** When it was put there. */
  readonly at: number;
  readonly until: number;
  readonly bytes: Uint8Array;
}

const HEAD = 16;

export function writeDated({ at, until, bytes }: Dated): Buffer {
  const head = Buffer.alloc(HEAD);
  head.writeDoubleLE(at, 0);
  head.writeDoubleLE(until, 8);
  return Buffer.concat([head, bytes]);
}

/** `written`: what a node of the fleet sealed. Undefined: it has no dates, because an earlier version of the node wrote it. */
export function readDated(written: Buffer): Dated | undefined {
  if (written.length < HEAD) return undefined;
  return { at: written.readDoubleLE(0), until: written.readDoubleLE(8), bytes: written.subarray(HEAD) };
}
