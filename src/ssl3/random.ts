/** Makes this many new random bytes. Tests with recorded connections give fixed ones. */
export type Random = (size: number) => Buffer;
