import type { FromWorker } from "./messages.ts";
import type { Minted, MintRequest } from "./pki/mint.ts";

/** Asks the supervisor for certificates. Its answers are given to `settle`. */
export function createMintChannel(tell: (message: FromWorker) => unknown) {
  const waiting = new Map<number, { resolve(minted: Minted): void; reject(error: Error): void }>();
  let last = 0;
  return {
    ask: (wanted: MintRequest) =>
      new Promise<Minted>((resolve, reject) => {
        last += 1;
        waiting.set(last, { resolve, reject });
        tell({ kind: "mint", request: last, wanted });
      }),
    settle(request: number, answer: Minted | Error) {
      const asker = waiting.get(request);
      waiting.delete(request);
      if (answer instanceof Error) asker?.reject(answer);
      else asker?.resolve(answer);
    },
  };
}
