import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createContextCache } from "../src/legs/contexts.ts";
import { offerFor } from "../src/legs/offer.ts";
import { readShown } from "../src/legs/shown-chain.ts";
import { whyUndecryptable } from "../src/legs/undecryptable.ts";
import { createIssuedCache } from "../src/pki/issue/issued.ts";
import { recordCertificate } from "../src/pki/x509/certificate-record.ts";
import { toPem } from "../src/pki/x509/pem.ts";
import { viewOf } from "../src/policy/view.ts";
import { ownerOf } from "../src/sessions/owner.ts";
import type { ClientHello } from "../src/wire/client-hello.ts";
import { createClientHelloReader } from "../src/wire/client-hello-reader.ts";
import { communityId } from "../src/wire/community-id.ts";
import { fingerprints } from "../src/wire/fingerprint.ts";
import { readList } from "../src/wire/recent-lists.ts";
import { needs } from "./needs.ts";
import { must, scratch } from "./processes.ts";
import { RECORDED } from "./recorded/client-hello/recorded.ts";

/**
 * Every cache: where it is made, and the most memory that one of its process may take, in MiB. `Cache` itself demands a bound
 * in entries and in bytes, and keeps long keys as their hash. A cache that is not in this table fails the test.
 */
const CACHES: Readonly<Record<string, number>> = {
  "src/capture/syn-hold.ts": 2,
  "src/control/history-store.ts": 10,
  "src/fleet/values.ts": 26,
  "src/legs/contexts.ts": 48,
  "src/legs/shown-chain.ts": 48,
  "src/pki/issue/issued.ts": 24,
  "src/pki/issue/mint.ts": 64,
  "src/pki/issue/status-server.ts": 4,
  "src/pki/revocation/failures.ts": 1,
  "src/pki/revocation/revocation-cache.ts": 114,
  "src/pki/verify/judge.ts": 16,
  "src/policy/known-servers.ts": 8,
  "src/policy/refusals.ts": 5,
  "src/resumption/session-cache.ts": 160,
  "src/sessions/table.ts": 8,
  "src/streams/resolve.ts": 4,
};

/** An address in a client's request, all of which must not be kept with it. */
const endpointOf = (number: number) => {
  const address = `${"x".repeat(8_000)}2001:db8::${number.toString(16)}:1`.slice(8_000);
  return { address, port: 443 };
};

const { hello } = createClientHelloReader().push(RECORDED["chromium"]!) as { hello: ClientHello };
/** Nearly as long as what is kept may be. */
const helloOf = (number: number) => ({ ...hello, cipherSuites: Array<number>(300).fill(10_000 + number) });

/** Other limits, as every policy of its own has. */
const versionsOf = (number: number) => ({ min: "TLSv1", max: "TLSv1.3", number }) as const;

/**
 * What is kept without `Cache`, because the search would cost as much as making it again: the most memory that it may take, in MiB, and
 * what has it keep one thing more.
 */
const RECENT: Readonly<Record<string, readonly [most: number, keep: (number: number) => unknown]>> = {
  "src/legs/offer.ts": [2, (number) => offerFor(hello, versionsOf(number), 4096)],
  "src/legs/undecryptable.ts": [
    2,
    (number) => whyUndecryptable(hello, { versions: versionsOf(number), dhBits: 4096 }, false),
  ],
  "src/policy/view.ts": [1, (number) => viewOf({ client: endpointOf(number) }, false)],
  "src/sessions/owner.ts": [1, (number) => ownerOf(endpointOf(number).address)],
  "src/wire/community-id.ts": [1, (number) => communityId(endpointOf(number), endpointOf(0))],
  "src/wire/fingerprint.ts": [2, (number) => fingerprints(helloOf(number))],
  "src/wire/recent-lists.ts": [
    4,
    (number) => readList(Buffer.alloc(512, Buffer.of(3, number >> 8, 5, number)), "a list"),
  ],
};

const ROOT = join(import.meta.dirname, "..");

test("The list of caches is whole", () => {
  const made = globSync("src/**/*.ts", { cwd: ROOT })
    .filter((file) => !file.endsWith(".test.ts") && /\bnew Cache\b/.test(readFileSync(join(ROOT, file), "utf8")))
    .sort();
  assert.deepEqual(made, Object.keys(CACHES));
  for (const file of made)
    assert.doesNotMatch(
      readFileSync(join(ROOT, file), "utf8"),
      /\bbytes: (?:Number\.)?(?:POSITIVE_)?(?:INFINITY|Infinity)/,
    );
});

test("Nothing else keeps values by name until they are too many", () => {
  const own = globSync("src/**/*.ts", { cwd: ROOT }).filter((file) => {
    const source = readFileSync(join(ROOT, file), "utf8");
    return (
      !["src/cache.ts", "src/recent-answers.ts"].includes(file) &&
      (/\b(?:#?\w*cache\w*|known|seen|remembered|recent)\b\s*=\s*new (?:Weak)?Map\b/i.test(source) ||
        /\bnew RecentAnswers\b/.test(source))
    );
  });
  // What lives for one call or as long as its policy or setup, and a folder's key files, which are as many as there are.
  const others = [
    ...["src/pki/keys/key-folder.ts", "src/policy/alike.ts", "src/policy/past.ts"],
    ...["src/supervisor/lists.ts", "src/worker/overload-measures.ts"],
  ];
  assert.deepEqual(own.sort(), [...others, ...Object.keys(RECENT)].sort());
});

// Otherwise the memory of certificates that are no longer kept would count.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

for (const [file, [most, keep]] of Object.entries(RECENT)) {
  test(`What ${file} keeps takes at most ${most} MiB`, () => {
    const used = () => {
      collectGarbage();
      return process.memoryUsage().heapUsed / 2 ** 20;
    };
    const before = used();
    // Just below a multiple of the most that are kept, when there are the most.
    for (let number = 0; number < 1_999; number += 1) keep(number);
    const grown = used() - before;
    assert.ok(grown < most, `it takes ${grown.toFixed(2)} MiB`);
  });
}

/** MiB that this process takes now. */
function memory(): number {
  collectGarbage();
  return process.memoryUsage.rss() / 2 ** 20;
}

test("1,101 unique certificates of 62 kB take no more memory than 600 of them", needs("openssl"), async () => {
  const { original, keyPem } = await largeCertificate();
  assert.ok(original.raw.length > 60_000);
  const contexts = createContextCache(2_000);
  const issued = createIssuedCache(4_000, async ({ certificate }) => ({
    ...{ certificatePem: toPem(certificate!), keyPem, serial: "", sha256: "", notAfter: 0 },
    ...({ keyType: "ecdsa", authority: "primary" } as const),
  }));
  const visit = async (number: number) => {
    const der = withSerial(original, number);
    const [leaf] = readShown([der])!.chain;
    const { sha256 } = recordCertificate(leaf);
    const wanted = { certificate: der, authority: "primary", keyType: "ecdsa" } as const;
    const { certificatePem } = await issued.take(sha256, wanted, 0);
    contexts.take({
      ...{ role: "server", minVersion: 0x0303, maxVersion: 0x0304, ciphers: "TLS_AES_128_GCM_SHA256" },
      ...{ tickets: false, sessions: true, keyLog: false, sessionTimeout: 300 },
      identities: [{ certificatePem, keyPem }],
    });
  };
  for (let number = 1; number <= 600; number += 1) await visit(number);
  assert.ok(contexts.size < 300 && issued.size < 300, "the bounds in bytes hold long before those in entries");
  const full = memory();
  for (let number = 601; number <= 1_101; number += 1) await visit(number);
  // Without bounds in bytes each certificate took half a MiB.
  const grown = memory() - full;
  assert.ok(grown < 100, `500 more certificates took ${Math.round(grown)} MiB`);
  assert.ok(contexts.flush() > 0);
});

async function largeCertificate() {
  const folder = scratch();
  const at = (name: string) => join(folder, name);
  const names = Array.from({ length: 3_000 }, (_, index) => `DNS:name-${index}.a.host.example`).join(",");
  const extensions = `[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\nsubjectAltName=${names}\n`;
  writeFileSync(at("cnf"), extensions);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", at("key")];
  const serial = ["-set_serial", "0x1234567890abcdef12345678"];
  await must("openssl", [
    "req",
    "-x509",
    "-config",
    at("cnf"),
    ...key,
    ...serial,
    "-subj",
    "/CN=big",
    "-out",
    at("pem"),
  ]);
  return { original: new X509Certificate(readFileSync(at("pem"))), keyPem: readFileSync(at("key"), "utf8") };
}

/** The same certificate under another serial number: nobody here looks at its signature. */
function withSerial({ raw, serialNumber }: X509Certificate, number: number): Buffer {
  const der = Buffer.from(raw);
  der.writeUInt32BE(number, der.indexOf(Buffer.from(serialNumber, "hex")) + 8);
  return der;
}
