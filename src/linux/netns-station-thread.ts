import { parentPort, workerData } from "node:worker_threads";
import koffi from "koffi";
import { NetworkError } from "../errors.ts";
import { enter } from "./netns.ts";
import { OPERATION, TURN, WORD } from "./netns-station.ts";
import { keepCapabilities, setCapabilities } from "./process-calls.ts";
import { socket } from "./syscalls.ts";

/** The thread of a station: see `netns-station.ts`. Its namespace is its own; its descriptors are the whole process's. */

const { words, name } = workerData as { readonly words: Int32Array<SharedArrayBuffer>; readonly name: string };

try {
  enter(name);
  keepCapabilities();
  Atomics.store(words, WORD.turn, TURN.caller);
  parentPort!.postMessage(undefined);
  work();
} catch (error) {
  parentPort!.postMessage((error as Error).message);
}

function work(): never {
  for (;;) {
    Atomics.wait(words, WORD.turn, TURN.caller);
    if (words[WORD.operation] === OPERATION.restrict) restrict();
    else makeSockets();
    Atomics.store(words, WORD.turn, TURN.caller);
    Atomics.notify(words, WORD.turn);
  }
}

function restrict(): void {
  setCapabilities((BigInt(words[WORD.high]!) << 32n) | BigInt.asUintN(32, BigInt(words[WORD.low]!)));
}

/** As many as were asked for and there is room for. */
function makeSockets(): void {
  const [family, type, protocol, count] = words.subarray(WORD.family) as unknown as [number, number, number, number];
  let made = 0;
  try {
    for (; made < count; made++) words[WORD.first + made] = socket(family, type, protocol);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    words[WORD.error] = koffi.os.errno[error.code] ?? 0;
  }
  words[WORD.count] = made;
}
