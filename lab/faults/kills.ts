import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setImmediate as immediately } from "node:timers/promises";
import { connect } from "node:tls";
import { DOMAIN, type Pki } from "../../test/pki.ts";
import { type Program, pause } from "../../test/processes.ts";
import { recovery, startAgain } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { inModes, type Mode, type ModeBench, openMode } from "./modes.ts";
import type { Visit, Way } from "./traffic.ts";

const PARTS = "history";
const KILLS = 5;

/** SIGKILL of the supervisor at moments that matter, each with a new start of the node. */
export const KILLED: readonly Fault[] = [
  ...inModes(["loopback", "router"], {
    name: "killed-in-ca-renew",
    about: `SIGKILL of the supervisor during \`ca renew\`, ${KILLS} times, at another moment each time`,
    promise: "Each CA is whole after the next start, the old one or the new one, never a third, and it signs",
    parts: PARTS,
    run: killInRenewal,
  }),
  ...inModes(["loopback", "bridge"], {
    name: "killed-in-reload",
    about: `SIGKILL of the supervisor during a reload, ${KILLS} times, at another moment each time`,
    promise: "The next start takes the file and carries sessions with the same CA",
    parts: PARTS,
    run: killInReload,
  }),
  ...inModes(["loopback", "router"], {
    name: "killed-while-minting",
    about: `SIGKILL of the supervisor while each new session has a new certificate, ${KILLS} times`,
    promise: "The next start has the same CA, and mints",
    parts: PARTS,
    run: killInMinting,
  }),
  ...inModes(["loopback", "bridge"], {
    name: "killed-while-history-is-written",
    about: `SIGKILL of the supervisor, ${KILLS} times, at any moment of its writes to the history`,
    promise: "The database is sound each time, and has every session that ended more than 2 s before the kill",
    parts: PARTS,
    run: killWriter,
  }),
];

type Act = (bench: ModeBench, round: number, running: Running) => Promise<unknown>;

async function killInRenewal(pki: Pki, mode: Mode): Promise<string> {
  const renew: Act = ({ node }) => node.command("ca", "renew", "--role", "primary");
  const { took, authorities } = await killRepeatedly(pki, mode, renew, inSwap);
  const made = authorities.filter((one, at) => at > 0 && one !== authorities[at - 1]).length;
  return `${took}; ${made} times the new CA, ${KILLS - made} times the old one, each with its key`;
}

/** Once the new files are being written, and some ms later in each round. */
async function inSwap({ node }: ModeBench, round: number): Promise<void> {
  const folder = join(node.folder, "data/ca");
  const before = readdirSync(folder).join();
  const start = performance.now();
  while (readdirSync(folder).join() === before && performance.now() - start < 20_000) await immediately();
  await pause(100 * round);
}

async function killInReload(pki: Pki, mode: Mode): Promise<string> {
  const { took, authorities } = await killRepeatedly(pki, mode, async ({ node }, round, running) => {
    node.rewrite({ policy: { rules: [{ name: `r${round}`, match: { host: ["x.example"] }, action: "bypass" }] } });
    process.kill(running.program.pid, "SIGHUP");
  });
  assert.equal(new Set(authorities).size, 1, "another CA was made");
  return `${took}; the CA is the same`;
}

async function killInMinting(pki: Pki, mode: Mode): Promise<string> {
  const { took, authorities } = await killRepeatedly(pki, mode, async ({ ways: [way] }) => {
    const visits = Array.from({ length: 30 }, (_, at) => handshake(way!, `m${at}-${Date.now()}.${DOMAIN}`));
    await Promise.all(visits);
  });
  assert.equal(new Set(authorities).size, 1, "another CA was made");
  return `${took}; the CA is the same`;
}

/** A handshake with a host that the node has no certificate for. It may fail. */
async function handshake({ dial, trusted }: Way, servername: string): Promise<void> {
  const socket = await dial().catch(() => undefined);
  if (socket === undefined) return;
  const tls = connect({ socket, servername, ca: trusted() });
  const [over, done] = [
    new Promise((resolve) => tls.once("secureConnect", resolve)),
    once(tls, "close").catch(() => undefined),
  ];
  tls.on("error", () => socket.destroy());
  await Promise.race([over, done]);
  tls.destroy();
}

/** Kills the supervisor in the middle of an act, and starts the node again. Answers the CA before the first and after each kill. */
async function killRepeatedly(pki: Pki, mode: Mode, act: Act, moment: Act = (_, round) => pause(2 + 15 * round)) {
  await using bench = await openMode(mode, pki, {}, { downloads: 0, idle: 0 });
  await using running = new Running(bench);
  const authorities = [fingerprint(bench)];
  const times: number[] = [];
  for (let round = 0; round < KILLS; round++) {
    await Promise.all([act(bench, round, running), moment(bench, round, running).then(() => running.kill())]);
    times.push(await running.restart());
    authorities.push(fingerprint(bench));
    await recovery(bench.traffic, performance.now());
  }
  const took = `${KILLS} of ${KILLS} starts carried sessions, the slowest after ${Math.max(...times).toFixed(0)} ms`;
  return { took, authorities };
}

async function killWriter(pki: Pki, mode: Mode): Promise<string> {
  const [rate, count] = mode === "loopback" ? [40, 150] : [10, 50];
  await using bench = await openMode(mode, pki, {}, { downloads: 0, idle: 0, rate });
  const { node, traffic } = bench;
  await using running = new Running(bench);
  const file = join(node.folder, "data/history.db");
  let [checked, begun] = [0, performance.now()];
  for (let round = 0; round < KILLS; round++) {
    await traffic.whole(count, begun);
    await pause(37 * round);
    await running.kill();
    const killed = performance.now();
    const due = traffic.visits.filter(({ start, end, error }) => start > begun && end < killed - 2000 && !error);
    checked += assertRecorded(file, due);
    await running.restart();
    begun = performance.now();
  }
  return `the database was sound ${KILLS} of ${KILLS} times, with all ${checked} sessions that were due`;
}

/** Answers how many there are. */
export function assertRecorded(file: string, visits: readonly Visit[]): number {
  const database = new DatabaseSync(file);
  try {
    assert.deepEqual(
      database
        .prepare("PRAGMA integrity_check")
        .all()
        .map((row) => ({ ...row })),
      [{ integrity_check: "ok" }],
    );
    const rows = database.prepare("SELECT record ->> '$.client.port' AS port FROM sessions").all();
    const ports = new Set(rows.map(({ port }) => Number(port)));
    const missing = visits.filter(({ port }) => !ports.has(port));
    assert.equal(missing.length, 0, `${missing.length} of ${visits.length} sessions are not on record`);
    return visits.length;
  } finally {
    database.close();
  }
}

/** The node's program, which is killed and started again. */
export class Running implements AsyncDisposable {
  readonly #bench: ModeBench;
  #program: Program | undefined;

  constructor(bench: ModeBench) {
    this.#bench = bench;
  }

  async kill(): Promise<void> {
    await this.program.stop("SIGKILL");
  }

  get program(): Program {
    return this.#program ?? this.#bench.node.process;
  }

  /** Starts it, and does not wait until it is ready. */
  begin(): void {
    this.#program = this.#bench.node.begin();
  }

  /** Resolves with ms. */
  async restart(): Promise<number> {
    const { program, took } = await startAgain(this.#bench.node);
    this.#program = program;
    return took;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program?.stop("SIGKILL");
  }
}

/** The CA's certificate. Throws unless its key is beside it, and is its own. */
export function fingerprint({ node }: ModeBench): string {
  const folder = join(node.folder, "data/ca");
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  for (const type of ["ecdsa", "rsa"]) {
    const certificate = new X509Certificate(read(`primary-${type}.pem`));
    const isOwn = certificate.checkPrivateKey(createPrivateKey(read(`primary-${type}.key`)));
    assert.ok(isOwn, `the primary CA's ${type} key is not of its certificate`);
  }
  return new X509Certificate(read("primary-ecdsa.pem")).fingerprint256;
}
