import { parentPort } from "node:worker_threads";
import { serveAudit } from "./audit-store.ts";
import type { Answer, Question, StoreCalls } from "./disk-calls.ts";
import { serveHistory } from "./history-database.ts";

/** The thread that waits for the disk: see `disk.ts`. */

const KINDS: { readonly [Kind in keyof StoreCalls]: (file: string) => StoreCalls[Kind] } = {
  history: serveHistory,
  audit: serveAudit,
};

const stores = new Map<number, StoreCalls[keyof StoreCalls]>();

parentPort!.on("message", ({ id, store, name, args }: Question) => {
  let answer: Answer;
  try {
    answer = { id, value: carryOut(store, name, args) };
  } catch (error) {
    answer = { id, error: error instanceof Error ? error.message : String(error) };
  }
  parentPort!.postMessage(answer);
});

function carryOut(store: number, name: string, args: readonly unknown[]): unknown {
  if (name === "open") {
    const [kind, file] = args as [keyof StoreCalls, string];
    stores.set(store, KINDS[kind](file));
    return undefined;
  }
  return Reflect.apply(Reflect.get(stores.get(store)!, name), undefined, args);
}
