import { Context } from "../src/engine/contexts.ts";
import { connect, openSocket } from "../src/engine/dial.ts";
import type { End } from "../src/engine/end.ts";
import { NOTHING_NOW } from "../src/engine/layer.ts";
import { Loop, SCRATCH, type Task } from "../src/engine/loop.ts";
import { OpensslLayer } from "../src/engine/openssl-layer.ts";
import { Writer } from "../src/engine/writer.ts";
import { VERSIONS } from "../src/vocabulary.ts";
import { type Job, takeJob } from "./client.ts";

/**
 * A program whose clients come at set rates, whatever becomes of those before: each opens a session, makes a small request, and reads the
 * answer to its end. It stands on the node's own engine, because Node's TLS would need more CPU time than the node that it
 * measures. It prints, for each session, when it was due, how long its first answer took from then, in ms, and whether it was decrypted.
 */
export interface Arrivals extends Job {
  /** One after another. */
  readonly phases: readonly { readonly rate: number; readonly seconds: number }[];
}

export interface Arrived {
  /** ms from the beginning. */
  readonly due: readonly number[];
  /** ms; -1: the session failed. */
  readonly took: readonly number[];
  /** 1: the node showed a certificate of its own. */
  readonly decrypted: readonly number[];
  /** CPU time of this program, in ms. */
  readonly cpu: number;
}

/** ms between two looks at who is due. */
const LOOK = 2;
/** ms that sessions have to end after the last one has begun. */
const PATIENCE = 90_000;

const job = takeJob<Arrivals>();
const { address, port } = job.target;
const loop = new Loop();
const writer = new Writer();
const context = new Context({
  ...{ role: "client", minVersion: VERSIONS["TLSv1.3"], maxVersion: VERSIONS["TLSv1.3"], alpn: ["http/1.1"] },
  ...{ ciphers: "TLS_AES_128_GCM_SHA256", groups: "*P-256", tickets: false, sessions: false, keyLog: false },
});
const REQUEST = Buffer.from("GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");

class Visit implements Task {
  queued = false;
  readonly #end: End;
  readonly #layer: OpensslLayer;
  readonly #over: () => void;
  #isUp = false;
  isDecrypted = false;
  answeredAt = -1;

  constructor(end: End, over: () => void) {
    this.#end = end;
    this.#over = over;
    this.#layer = new OpensslLayer({ end, writer, context, serverName: "localhost" });
    end.push(this.#layer);
    end.task = this;
    loop.enqueue(this);
  }

  run(): boolean {
    if (!this.#isUp) {
      const step = this.#layer.handshake();
      if (step === "waiting") return false;
      if (step !== "up") return this.#leave();
      this.#isUp = true;
      this.isDecrypted = this.#layer.peerChain()[0]?.includes("Clearline") === true;
      REQUEST.copy(loop.scratch);
      this.#end.write(loop.scratchAt, REQUEST.length);
    }
    for (;;) {
      const came = this.#end.read(loop.scratchAt, SCRATCH);
      if (came === NOTHING_NOW) return false;
      if (came < 0) return this.#leave();
      if (this.answeredAt < 0) this.answeredAt = performance.now();
    }
  }

  fail(): void {
    this.#over();
  }

  #leave(): false {
    this.#end.task = undefined;
    this.#end.close();
    this.#over();
    return false;
  }
}

const begun = performance.now();
const due = job.phases.flatMap(({ rate, seconds }, index) => {
  const from = job.phases.slice(0, index).reduce((sum, phase) => sum + phase.seconds * 1000, 0);
  return Array.from({ length: Math.round(rate * seconds) }, (_, nth) => from + (nth * 1000) / rate);
});
const took = new Float64Array(due.length).fill(-1);
const decrypted = new Uint8Array(due.length);
let left = due.length;
const { promise: all, resolve } = Promise.withResolvers<void>();
const over = () => {
  left -= 1;
  if (left === 0) resolve();
};

for (let next = 0; next < due.length; ) {
  while (next < due.length && begun + due[next]! <= performance.now()) void visit(next++);
  await new Promise((awake) => setTimeout(awake, LOOK));
}
await Promise.race([all, new Promise((late) => setTimeout(late, PATIENCE))]);
const { user, system } = process.cpuUsage();
const rounded = [...took].map((time) => Math.round(time * 10) / 10);
const arrived: Arrived = {
  due: due.map(Math.round),
  took: rounded,
  decrypted: [...decrypted],
  cpu: (user + system) / 1000,
};
process.stdout.write(JSON.stringify(arrived), () => process.exit());

async function visit(nth: number): Promise<void> {
  try {
    const end = await connect(loop, openSocket(address), { address, port }, PATIENCE);
    const visited = new Visit(end, () => {
      if (visited.answeredAt >= 0) took[nth] = visited.answeredAt - begun - due[nth]!;
      decrypted[nth] = visited.isDecrypted ? 1 : 0;
      over();
    });
  } catch {
    // It stays -1.
    over();
  }
}
