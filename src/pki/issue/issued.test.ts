import assert from "node:assert/strict";
import { test } from "node:test";
import { createIssuedCache } from "./issued.ts";
import type { MintRequest } from "./mint.ts";
import type { Minted } from "./minted.ts";

const WANTED: MintRequest = { certificate: Buffer.from("der"), authority: "primary", keyType: "ecdsa" };
const MINUTE = 60_000;

/** Records the requests; the test answers them. */
function issuer() {
  const asked: PromiseWithResolvers<Minted>[] = [];
  return {
    asked,
    ask(_wanted: MintRequest) {
      const answer = Promise.withResolvers<Minted>();
      asked.push(answer);
      return answer.promise;
    },
  };
}

function minted(serial: string): Minted {
  const empty = { certificatePem: "", keyPem: "", sha256: "", notAfter: 0 };
  return { ...empty, serial, keyType: "ecdsa", authority: "primary" };
}

test("Sessions that need the same certificate at the same time share one request", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  const takers = Array.from({ length: 100 }, () => issued.take("a", WANTED, 0));
  assert.equal(asked.length, 1);
  asked[0]?.resolve(minted("1"));
  for (const { serial } of await Promise.all(takers)) assert.equal(serial, "1");
  assert.deepEqual([issued.hits, issued.misses, issued.size], [99, 1, 1]);
});

test("Each server, authority and key type has its own certificate", () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  void issued.take("a", WANTED, 0);
  void issued.take("b", WANTED, 0);
  void issued.take("a", { ...WANTED, authority: "secondary" }, 0);
  void issued.take("a", { ...WANTED, keyType: "rsa" }, 0);
  assert.equal(asked.length, 4);
});

test("A copy is requested again after its time", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  const first = issued.take("a", WANTED, 0);
  asked[0]?.resolve(minted("1"));
  await first;
  assert.equal((await issued.take("a", WANTED, 9 * MINUTE)).serial, "1");
  void issued.take("a", WANTED, 11 * MINUTE);
  assert.equal(asked.length, 2);
});
