import assert from "node:assert/strict";
import type { X509Certificate } from "node:crypto";
import { test } from "node:test";
import { type Fault, VERSIONS, type Version } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { createIssuedCache } from "./issue/issued.ts";
import type { MintRequest } from "./issue/mint.ts";
import type { Minted } from "./issue/minted.ts";
import type { InboundKey } from "./keys/inbound-key.ts";
import { createKeystore } from "./keys/keystore.ts";
import { createPkiStage } from "./stage.ts";
import type { JudgedServer } from "./verify/judge.ts";

const SHOWN = { certificate: { raw: Buffer.from("original") } as X509Certificate, ders: [], key: "" };
/** A client that verifies ECDSA in TLS 1.3, but whose TLS 1.2 knows RSA only. */
const HELLO = {
  ...{ versions: [VERSIONS["TLSv1.3"], VERSIONS["TLSv1.2"]], cipherSuites: [0x1301, 0xc02f] },
  ...{ signatureAlgorithms: [0x0403, 0x0804], supportedGroups: [0x0017], ecPointFormats: [] },
} as unknown as ClientHello;

function judged(faults: readonly Fault[], held: readonly InboundKey[] = []): JudgedServer {
  const record = { sha256: "aa" } as JudgedServer["record"];
  return { record, facts: { names: [], issuer: "", faults, revocationOpen: false }, held };
}

/** What is presented, and what was asked of the supervisor for it. */
async function present(server: JudgedServer, min: Version = "TLSv1.2", names?: readonly string[]) {
  const asked: MintRequest[] = [];
  const issued = createIssuedCache(10, async (wanted) => {
    asked.push(wanted);
    return { certificatePem: "pem", keyPem: "key", serial: "01", sha256: "bb", keyType: wanted.keyType } as Minted;
  });
  const judge = () => server;
  const stapler = { find: async () => undefined };
  const versions = { min, max: "TLSv1.3" } as const;
  const stage = createPkiStage({ keystore: createKeystore([]), judge, issued, stapler, versions });
  return { ...(await stage.present(SHOWN, HELLO, server, names)), asked };
}

test("The primary CA signs for a server without faults", async () => {
  const { records, asked } = await present(judged([]));
  assert.deepEqual(records, [{ authority: "primary", serial: "01", sha256: "bb", keyType: "rsa" }]);
  assert.equal(asked[0]?.authority, "primary");
});

test("The secondary CA signs for a server with any fault that policy still decrypts", async () => {
  for (const fault of ["expired", "selfSigned", "revocationUnknown"] as const) {
    const { records, asked } = await present(judged([fault]));
    assert.deepEqual([records[0].authority, asked[0]?.authority], ["secondary", "secondary"], fault);
  }
});

test("A certificate for fewer names than the server's is another one", async () => {
  const { asked } = await present(judged([]), "TLSv1.2", ["www.example.com"]);
  assert.deepEqual(asked[0]?.names, ["www.example.com"]);
  assert.equal((await present(judged([]))).asked[0]?.names, undefined);
});

test("The key type is one that the client verifies in every version that may be agreed on", async () => {
  assert.equal((await present(judged([]))).records[0].keyType, "rsa");
  assert.equal((await present(judged([]), "TLSv1.3")).records[0].keyType, "ecdsa");
});

test("The node's own certificates for the server are presented instead of an issued one", async () => {
  const key = (keyType: string) => ({ keyType, serial: keyType, sha256: "cc" }) as InboundKey;
  const held = [key("rsa"), key("ecdsa")];
  const { certificates, records, asked } = await present(judged([], held));
  assert.deepEqual(certificates, held);
  assert.deepEqual(records, [
    { authority: "inbound", serial: "rsa", sha256: "cc", keyType: "rsa" },
    { authority: "inbound", serial: "ecdsa", sha256: "cc", keyType: "ecdsa" },
  ]);
  assert.deepEqual(asked, []);
});
