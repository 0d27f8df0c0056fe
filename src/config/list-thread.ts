import { parentPort, workerData } from "node:worker_threads";
import { compileNow } from "./list-file.ts";

/** The thread that compiles a long list: see `list-file.ts`. */

const compiled = compileNow(workerData as string);
parentPort!.postMessage(compiled, [compiled.table.buffer]);
