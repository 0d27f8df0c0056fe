/** So many random bytes, fresh and the caller's own. Recorded conversations give fixed ones. */
export type Random = (size: number) => Buffer;
