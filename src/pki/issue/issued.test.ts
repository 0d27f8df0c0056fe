import assert from "node:assert/strict";
import { test } from "node:test";
import { createIssuedCache } from "./issued.ts";
import type { Minted, MintRequest } from "./mint.ts";

const WANTED: MintRequest = { certificate: Buffer.from("der"), authority: "primary", keyType: "ecdsa" };
const MINUTE = 60_000;

/** Somebody who issues when told to, and counts. */
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

test("However many sessions want one certificate at once, it is asked for once", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  const takers = Array.from({ length: 100 }, () => issued.take("a", WANTED, 0));
  assert.equal(asked.length, 1);
  asked[0]?.resolve(minted("1"));
  for (const { serial } of await Promise.all(takers)) assert.equal(serial, "1");
  assert.deepEqual([issued.hits, issued.misses, issued.size], [99, 1, 1]);
});

test("Another server, authority or key type is another certificate", () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  void issued.take("a", WANTED, 0);
  void issued.take("b", WANTED, 0);
  void issued.take("a", { ...WANTED, authority: "secondary" }, 0);
  void issued.take("a", { ...WANTED, keyType: "rsa" }, 0);
  assert.equal(asked.length, 4);
});

test("A copy is asked for anew after its time", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  const first = issued.take("a", WANTED, 0);
  asked[0]?.resolve(minted("1"));
  await first;
  assert.equal((await issued.take("a", WANTED, 9 * MINUTE)).serial, "1");
  void issued.take("a", WANTED, 11 * MINUTE);
  assert.equal(asked.length, 2);
});

test("A failure reaches all who waited, and the next one asks again", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  const takers = [issued.take("a", WANTED, 0), issued.take("a", WANTED, 0)];
  asked[0]?.reject(new Error("no"));
  for (const outcome of await Promise.allSettled(takers)) assert.equal(outcome.status, "rejected");
  void issued.take("a", WANTED, 1);
  assert.equal(asked.length, 2);
});

test("A failure of what has been asked for again since forgets the old answer only", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(10, ask);
  const old = issued.take("a", WANTED, 0);
  issued.flush();
  const young = issued.take("a", WANTED, 1);
  asked[0]?.reject(new Error("no"));
  await assert.rejects(old);
  asked[1]?.resolve(minted("2"));
  assert.equal((await young).serial, "2");
  assert.equal((await issued.take("a", WANTED, 2)).serial, "2");
  assert.equal(asked.length, 2);
});

test("The least recently used copy goes when there are too many", async () => {
  const { asked, ask } = issuer();
  const issued = createIssuedCache(2, ask);
  for (const name of ["a", "b", "a", "c", "a"]) void issued.take(name, WANTED, 0);
  assert.equal(asked.length, 3);
  void issued.take("b", WANTED, 0);
  assert.equal(asked.length, 4);
  assert.equal(issued.size, 2);
});
