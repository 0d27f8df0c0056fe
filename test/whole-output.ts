/**
 * Loaded before each test file. A file ends with `process.exit()` once its tests have run, and that drops what its pipe
 * to the runner has not taken yet: its last results. Writing synchronously leaves nothing behind.
 */
const { _handle: pipe } = process.stdout as unknown as { readonly _handle?: { setBlocking?(on: boolean): void } };
pipe?.setBlocking?.(true);
