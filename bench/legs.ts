import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openClientLeg } from "../src/legs/client-leg.ts";
import { createContextCache } from "../src/legs/contexts.ts";
import type { Leg, LegFailure } from "../src/legs/leg.ts";
import { openServerLeg } from "../src/legs/server-leg.ts";
import { loopback } from "../src/legs/test-pairs.ts";
import { VERSIONS, type Version } from "../src/vocabulary.ts";
import { createClientHelloReader } from "../src/wire/client-hello-reader.ts";
import { writeProbe } from "../src/wire/probe.ts";
import { WORKSHOP } from "./processes.ts";
import { type Comparison, medians, type Results } from "./report.ts";
import { progress } from "./rounds.ts";

/** No current program has a fast SSL 3.0, so a client leg and a server leg are measured against each other. */
export const LEGS = {
  title: "Legs of SSL 3.0 beside OpenSSL's: a client leg and a server leg over loopback, in one process",
  alone: ["SSL 3.0, 3DES"],
  pairs: [
    { ours: "SSL 3.0, AES-128", theirs: "TLS 1.2, AES-128-CBC" },
    { ours: "SSL 3.0, RC4", theirs: "TLS 1.2, AES-128-CBC" },
  ],
} as const satisfies Comparison;

const SUBJECTS: Readonly<Record<string, { readonly version: Version; readonly suite: number }>> = {
  "SSL 3.0, 3DES": { version: "SSLv3", suite: 0x000a },
  "SSL 3.0, AES-128": { version: "SSLv3", suite: 0x002f },
  "SSL 3.0, RC4": { version: "SSLv3", suite: 0x0005 },
  "TLS 1.2, AES-128-CBC": { version: "TLSv1.2", suite: 0x002f },
};
const NUMBERS: Partial<Record<Version, number>> = { SSLv3: VERSIONS.SSLv3, "TLSv1.2": VERSIONS["TLSv1.2"] };

const MIB = 2 ** 20;
const CHUNK = Buffer.alloc(64 * 1024, 1);
const contexts = createContextCache(10);

/** Measures the MiB/s of one connection. The subjects take turns; the result is the median of the rounds. */
export async function measureLegs(rounds: number, seconds: number): Promise<Results> {
  const presented = makeIdentity();
  const runs = new Map<string, { one: number }[]>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const [name, { version, suite }] of Object.entries(SUBJECTS)) {
      progress(`${name}: throughput, ${round} of ${rounds}`);
      const one = await throughput(version, suite, presented, seconds);
      runs.set(name, [...(runs.get(name) ?? []), { one }]);
    }
  }
  return Object.fromEntries([...runs].map(([name, values]) => [name, medians(values)]));
}

async function throughput(version: Version, suite: number, presented: Identity, seconds: number): Promise<number> {
  const [near, far] = await loopback();
  const signatures = { groups: [], signatureAlgorithms: [0x0401], serverName: undefined, alpn: [] };
  const bytes = writeProbe({ maxVersion: NUMBERS[version]!, suites: [suite], ...signatures, random: Buffer.alloc(32) });
  const sighting = createClientHelloReader().push(bytes);
  if (sighting.kind !== "hello") throw new Error("The bench's own ClientHello cannot be parsed");
  const options = { versions: { min: version, max: version }, timeout: 5_000, contexts };
  const opening = openServerLeg(near, sighting.hello, options);
  await once(far, "readable");
  const first: Buffer = far.read();
  const seen = createClientHelloReader().push(first);
  if (seen.kind !== "hello") throw new Error("The server leg's ClientHello arrived in pieces");
  const client = { ...options, presented: [presented], alpn: undefined };
  const legs = await Promise.all([opening, openClientLeg(far, { hello: seen.hello, bytes: first }, client)]);
  const [from, to] = legs.map(mustBeUp);
  const carried = await pump(from!, to!, seconds);
  for (const { stream, socket } of [from!, to!]) {
    stream.destroy();
    socket.destroy();
  }
  return carried / MIB / seconds;
}

function mustBeUp(leg: (Leg & { kind: "up" }) | LegFailure): Leg {
  if (leg.kind === "failed") throw new Error(leg.reason);
  return leg;
}

/** Counts the bytes that arrive in this many seconds. */
async function pump(from: Leg, to: Leg, seconds: number): Promise<number> {
  let arrived = 0;
  to.stream.on("data", (bytes: Buffer) => {
    arrived += bytes.length;
  });
  const until = performance.now() + seconds * 1000;
  while (performance.now() < until) if (!from.stream.write(CHUNK)) await once(from.stream, "drain");
  return arrived;
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
