import { PeerError } from "../errors.ts";
import type { FromWorker } from "../messages.ts";
import type { MintRequest } from "../pki/issue/mint.ts";
import type { Minted } from "../pki/issue/minted.ts";
import { ALERTS } from "../wire/alert.ts";

/**
 * Asks the supervisor for certificates; its answers are given to `settle`. A request without an answer after `limit()` ms,
 * the time limit of a handshake, fails: the session ends with an alert, and a later session asks again.
 */
export function createMintChannel(tell: (message: FromWorker) => unknown, limit: () => number) {
  const waiting = new Map<number, { resolve(minted: Minted): void; reject(error: Error): void }>();
  let last = 0;
  return {
    async ask(wanted: MintRequest): Promise<Minted> {
      last += 1;
      const request = last;
      const { promise, resolve, reject } = Promise.withResolvers<Minted>();
      const time = limit();
      const late = setTimeout(() => {
        reject(
          new PeerError(`Cannot issue a certificate: the supervisor gave none in ${time} ms`, ALERTS.internal_error),
        );
      }, time);
      waiting.set(request, { resolve, reject });
      tell({ kind: "mint", request, wanted });
      try {
        return await promise;
      } finally {
        clearTimeout(late);
        waiting.delete(request);
      }
    },
    settle(request: number, answer: Minted | { readonly failed: string }) {
      const asker = waiting.get(request);
      if ("failed" in answer) asker?.reject(new PeerError(answer.failed, ALERTS.internal_error));
      else asker?.resolve(answer);
    },
  };
}
