import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { End } from "../src/engine/end.ts";
import { NOTHING_NOW } from "../src/engine/layer.ts";
import { SCRATCH, type Task } from "../src/engine/loop.ts";
import { endPair, loop, writer } from "../src/engine/test-ends.ts";
import { TrustStore } from "../src/engine/verify.ts";
import { openClientLeg } from "../src/legs/client-leg.ts";
import { createContextCache } from "../src/legs/contexts.ts";
import type { ClientLeg, LegFailure, ServerLeg } from "../src/legs/leg.ts";
import { openServerLeg } from "../src/legs/server-leg.ts";
import { Cleanup, helloOf, readHello } from "../src/legs/test-pairs.ts";
import { VERSIONS, type Version } from "../src/vocabulary.ts";
import { writeHello } from "../test/hello-writer.ts";
import { WORKSHOP } from "./processes.ts";
import { align, show } from "./report.ts";
import { median, progress } from "./rounds.ts";

/** No current program has a fast SSL 3.0, so a client leg and a server leg are measured against each other. */
const SUBJECTS: Readonly<Record<string, { readonly version: Version; readonly suite: number }>> = {
  "TLS 1.2, AES-128-CBC": { version: "TLSv1.2", suite: 0x002f },
  "SSL 3.0, AES-128": { version: "SSLv3", suite: 0x002f },
  "SSL 3.0, RC4": { version: "SSLv3", suite: 0x0005 },
  "SSL 3.0, 3DES": { version: "SSLv3", suite: 0x000a },
};
const NUMBERS: Partial<Record<Version, number>> = { SSLv3: VERSIONS.SSLv3, "TLSv1.2": VERSIONS["TLSv1.2"] };

const MIB = 2 ** 20;
const common = { writer, contexts: createContextCache(10), timeout: 5_000, dhBits: 4096, trust: new TrustStore([]) };

/** MiB/s by subject. */
export type Legs = Readonly<Record<string, number>>;

/** Measures the MiB/s of one connection. The subjects take turns; the result is the median of the rounds. */
export async function measureLegs(rounds: number, seconds: number): Promise<Legs> {
  const presented = makeIdentity();
  const runs = new Map<string, number[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const [name, { version, suite }] of Object.entries(SUBJECTS)) {
      progress(`legs: ${name}, ${round} of ${rounds}`);
      const rate = await throughput(version, suite, presented, seconds);
      runs.set(name, [...(runs.get(name) ?? []), rate]);
    }
  }
  return Object.fromEntries([...runs].map(([name, rates]) => [name, median(rates)]));
}

/** The rate of each subject, and its ratio to that of OpenSSL's legs. */
export function legsReport(legs: Legs): string {
  const [base] = Object.values(legs);
  const rows = Object.entries(legs).map(([name, rate]) => [name, show(rate), (rate / base!).toFixed(2)]);
  const title = "Legs of SSL 3.0 beside OpenSSL's: both over loopback in one process";
  return `${title}\n\n${align([["one session", "MiB/s", "ratio"], ...rows])}`;
}

async function throughput(version: Version, suite: number, presented: Identity, seconds: number): Promise<number> {
  const cleanup = new Cleanup();
  const [near, far] = await endPair(cleanup);
  const signatures = { groups: [], signatureAlgorithms: [0x0401], serverName: undefined, alpn: [] };
  const bytes = writeHello({ maxVersion: NUMBERS[version]!, suites: [suite], ...signatures, random: Buffer.alloc(32) });
  const options = { ...common, versions: { min: version, max: version } };
  const opening = openServerLeg(near, helloOf(bytes), options);
  const client = { ...options, presented: [presented], alpn: undefined };
  const legs = await Promise.all([opening, readHello(far).then((hello) => openClientLeg(far, hello, client))]);
  for (const leg of legs) mustBeUp(leg);
  const carried = await pump(near, far, seconds);
  cleanup.close();
  return carried / MIB / seconds;
}

function mustBeUp(leg: ClientLeg | ServerLeg | LegFailure): void {
  if (leg.kind === "failed") throw new Error(leg.reason);
}

/** Bytes that arrive in so many seconds. */
function pump(from: End, to: End, seconds: number): Promise<number> {
  const { scratch, scratchAt } = loop;
  let arrived = 0;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const until = performance.now() + seconds * 1000;
  const task = (run: () => boolean): Task => ({
    queued: false,
    run() {
      if (performance.now() < until) return run();
      resolve(arrived);
      return false;
    },
    fail: reject,
  });
  from.task = task(() => {
    if (!from.flush()) return false;
    scratch.fill(1);
    from.write(scratchAt, SCRATCH);
    return true;
  });
  to.task = task(() => {
    for (let came = 0; came < SCRATCH; ) {
      const length = to.read(scratchAt, SCRATCH);
      if (length === NOTHING_NOW) return false;
      came += length;
      arrived += length;
    }
    return true;
  });
  loop.enqueue(from.task);
  loop.enqueue(to.task);
  return promise;
}

interface Identity {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** An RSA certificate, which the compared SSL 3.0 suites need. */
function makeIdentity(): Identity {
  const [certificate, key] = [join(WORKSHOP, "legs.pem"), join(WORKSHOP, "legs.key")];
  const what = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
  execFileSync("openssl", [...what, "-keyout", key, "-out", certificate], { stdio: "ignore" });
  return { certificatePem: readFileSync(certificate, "utf8"), keyPem: readFileSync(key, "utf8") };
}
