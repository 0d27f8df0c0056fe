import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  dns,
  nameConstraints,
  uri,
  type Wanted,
  type Written,
  write,
} from "../../src/pki/verify/test-cases/writing.ts";
import { encodeExtension } from "../../src/pki/x509/certificate-writing.ts";
import { encode, encodeOid, TAG } from "../../src/pki/x509/der.ts";
import { OID } from "../../src/pki/x509/oid.ts";
import { opensslClient } from "../clients.ts";
import { needs } from "../needs.ts";
import { startNode, type TestNode } from "../node.ts";
import { type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, makePki, type Pki, saveIdentity } from "../pki.ts";
import { webServer } from "../revocation.ts";

const root = write({ ca: true, subject: "Root" });
const alone = write({ ca: true, subject: "Nobody's Root" });
const partial = write({ issuer: alone, ca: true, subject: "Trusted Intermediate" });
const excluding = write({
  ...{ issuer: root, ca: true, subject: "Excluding" },
  extensions: [nameConstraints({ excluded: [dns(`www.${DOMAIN}`)] })],
});
const names = [dns(`*.${DOMAIN}`), dns("*.co.uk")];
const leaf = (wanted: Wanted): Written => write({ names, ...wanted });
const longChain = (): [Written, ...Written[]] => {
  const cas = [root];
  for (let n = 1; n <= 30; n += 1) cas.unshift(write({ issuer: cas[0]!, ca: true, subject: `CA ${n}` }));
  return [leaf({ issuer: cas[0]! }), ...cas.slice(0, -1)];
};

/** What a server shows, the host that the client asks for, and OpenSSL's code for the fault; undefined: there is none. */
const CASES: Readonly<
  Record<string, readonly [chain: [Written, ...Written[]], host: string, code: string | undefined]>
> = {
  "trusted-intermediate": [[leaf({ issuer: partial }), partial], `partial.${DOMAIN}`, undefined],
  "any-purpose": [[leaf({ issuer: root, purposes: [OID.anyExtendedKeyUsage] })], `any.${DOMAIN}`, undefined],
  underscore: [[leaf({ issuer: root })], `under_score.${DOMAIN}`, undefined],
  gated: [[leaf({ issuer: root, purposes: ["2b0601040182370a0303"] })], `gated.${DOMAIN}`, "INVALID_PURPOSE"],
  excluded: [[leaf({ issuer: excluding }), excluding], `excluded.${DOMAIN}`, "EXCLUDED_VIOLATION"],
  suffix: [[leaf({ issuer: root })], "example.co.uk", "HOSTNAME_MISMATCH"],
  enciphering: [[leaf({ issuer: root, usage: 0x20 })], `enciphering.${DOMAIN}`, "KEYUSAGE_NO_DIGITAL_SIGNATURE"],
  constrained: [
    [leaf({ issuer: root, extensions: [nameConstraints({ permitted: [dns(DOMAIN)] })] })],
    `constrained.${DOMAIN}`,
    "INVALID_EXTENSION",
  ],
  long: [longChain(), `long.${DOMAIN}`, "CERT_CHAIN_TOO_LONG"],
};

describe("A server's certificate is judged as browsers judge it", needs("openssl"), () => {
  let pki: Pki;
  let node: TestNode;
  const origins = new Map<string, Origin>();

  before(async () => {
    pki = await makePki();
    for (const [name, [chain]] of Object.entries(CASES)) {
      const identity = saveIdentity(pki, name, chain);
      origins.set(name, await opensslServer(identity, { more: ["-cert_chain", identity.certificate] }));
    }
    const trust = [root, partial].map((one, index) => saveIdentity(pki, `trusted-${index}`, [one]).certificate);
    const forwards = Object.fromEntries([...origins].map(([name, { port }]) => [name, port]));
    node = await startNode({ trust, forwards, config: { policy: { certificate: { invalid: "decrypt" } } } });
  });
  after(async () => {
    await node?.stop();
    for (const { process } of origins.values()) await process.stop();
  });

  for (const [name, [, host, code]] of Object.entries(CASES)) {
    test(`${name}: ${code ?? "no fault"}`, async () => {
      const way = { port: node.forward(name) };
      await opensslClient({ way, name: host, roots: node.primary });
      const { certificate, presented } = await node.session(host);
      const codes = certificate?.faults.map((found) => found.code) ?? [];
      assert.equal(code === undefined ? codes.length === 0 : codes.includes(code), true, codes.join());
      const isDropped = certificate?.faults.some(({ fault }) => fault !== "invalid");
      const authority = isDropped ? undefined : code === undefined ? "primary" : "secondary";
      assert.equal(presented?.authority, authority);
    });
  }
});

describe("An intermediate that the server does not send", needs("openssl"), () => {
  const host = `missing.${DOMAIN}`;
  const files: Record<string, string> = {};
  const asked: string[] = [];
  let web: Awaited<ReturnType<typeof webServer>>;
  let origin: Origin;
  let node: TestNode;

  before(async () => {
    const pki = await makePki();
    const file = (name: string) => {
      asked.push(name);
      return files[name]!;
    };
    web = await webServer({ "/upper.crt": () => file("upper"), "/lower.crt": () => file("lower") });
    const upper = write({ issuer: root, ca: true, subject: "Upper" });
    const lower = write({ issuer: upper, ca: true, subject: "Lower", extensions: [issuerAt("upper")] });
    for (const [name, { der }] of Object.entries({ upper, lower })) {
      files[name] = join(pki.folder, `${name}.crt`);
      writeFileSync(files[name], der);
    }
    const identity = saveIdentity(pki, "missing", [leaf({ issuer: lower, extensions: [issuerAt("lower")] })]);
    origin = await opensslServer(identity);
    const trust = [saveIdentity(pki, "root", [root]).certificate];
    node = await startNode({ trust, forwards: { missing: origin.port }, config: { workers: 1 } });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
    web?.close();
  });

  function issuerAt(name: string): Buffer {
    const place = encode(TAG.sequence, encodeOid(OID.caIssuers), uri(`http://127.0.0.1:${web.port}/${name}.crt`));
    return encodeExtension(OID.authorityInformationAccess, false, encode(TAG.sequence, place));
  }

  /** The faults in the record, and who signed for the client. */
  async function visit(name: string): Promise<readonly [faults: string | undefined, authority: string | undefined]> {
    await opensslClient({ way: { port: node.forward("missing") }, name, roots: node.primary });
    const { certificate, presented } = await node.session(name);
    return [certificate?.faults.map(({ fault }) => fault).join(), presented?.authority];
  }

  test("is not fetched by default", async () => {
    assert.deepEqual(await visit(host), ["unknownIssuer", undefined]);
    assert.deepEqual(asked, []);
  });

  test("is fetched with trust.fetchIntermediates, one after the other, and once", async () => {
    const { trust } = JSON.parse(readFileSync(node.file, "utf8")) as { trust: object };
    node.rewrite({ trust: { ...trust, fetchIntermediates: true }, policy: { revocation: { loopback: true } } });
    await node.api("reload", "POST");
    assert.deepEqual(await visit(`first-${host}`), ["", "primary"]);
    assert.deepEqual(await visit(`again-${host}`), ["", "primary"]);
    assert.deepEqual(asked, ["lower", "upper"]);
  });
});
