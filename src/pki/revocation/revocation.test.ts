import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import * as x509 from "@peculiar/x509";
import { NetworkError } from "../../errors.ts";
import { type Made, make, type Wanted } from "../x509/test-chain.ts";
import type { RevocationSettings } from "./certificate-status.ts";
import { createRevocationChecker } from "./revocation.ts";
import { createRevocationCache } from "./revocation-cache.ts";
import { signerOf, writeCrl, writeOcspResponse } from "./test-answers.ts";

const OCSP = "http://ocsp.example/";
const LIST = "http://crl.example/list.crl";
const ASKED = new x509.AuthorityInfoAccessExtension({ ocsp: [OCSP] });
const LISTED = new x509.CRLDistributionPointsExtension([LIST]);
const MUST_STAPLE = new x509.Extension("1.3.6.1.5.5.7.1.24", false, Buffer.from("3003020105", "hex"));
const NEVER_TOLD = new x509.Extension("2.5.29.56", false, Buffer.from("0500", "hex"));

const ROOT = await make({ subject: "CN=root", ca: true });
const MIDDLE = await make({ subject: "CN=middle", ca: true, issuer: ROOT });
const ASKED_MIDDLE = await make({ subject: "CN=asked middle", ca: true, issuer: ROOT, extensions: [ASKED] });
const leafOf = (extensions: Wanted["extensions"] = [], issuer = MIDDLE) =>
  make({ subject: "CN=leaf", issuer, ...(extensions && { extensions }) });

type Say = (url: string) => Buffer | NetworkError;
const DOWN: Say = () => new NetworkError("It cannot be reached", "ECONNREFUSED");

/** A checker whose fetches `say` answers. Its clock stands still until the test sets it. */
function begin(settings: Partial<RevocationSettings>, say: Say) {
  const world = { now: Date.now(), say, fetched: [] as string[], stopped: false };
  const fetch = async (url: string) => {
    world.fetched.push(url);
    if (world.stopped) await new Promise<never>(() => undefined);
    const said = world.say(url);
    if (said instanceof NetworkError) throw said;
    return said;
  };
  const cache = createRevocationCache(100);
  const all = { ocsp: "soft", crl: "off", timeout: 1_000, keep: 3_600_000, ...settings } as const;
  const revocation = createRevocationChecker(all, cache, fetch, () => world.now);
  const ask = async (chain: readonly Made[], staple?: Buffer) => {
    const path = chain.map(({ pem }) => new X509Certificate(pem));
    const known = revocation.known(path[0]!.fingerprint256, staple, world.now);
    const { record, fault } = known ?? (await revocation.ask(path[0]!.fingerprint256, path, staple));
    return { ...record, fault };
  };
  return { world, cache, ask };
}

function say(status: "good" | "revoked" | "unknown", about: Made, issuer = MIDDLE, now = Date.now()): Buffer {
  const [certificate, from] = [about, issuer].map(({ pem }) => new X509Certificate(pem));
  const times = { thisUpdate: now - 60_000, nextUpdate: now + 600_000 };
  return writeOcspResponse({ certificate: certificate!, issuer: from!, signer: signerOf(issuer), status, ...times });
}

test("The stapled response is used first, then the responder's answer, then the list", async () => {
  const leaf = await leafOf([ASKED, LISTED]);
  const list = writeCrl({
    signer: signerOf(MIDDLE),
    serials: [],
    thisUpdate: Date.now(),
    nextUpdate: Date.now() + 1e6,
  });
  const answer: Say = (url) => (url === LIST ? list : say("good", leaf));
  const both = { ocsp: "soft", crl: "soft" } as const;
  const from = async (settings: Partial<RevocationSettings>, staple?: Buffer, says = answer) =>
    (await begin(settings, says).ask([leaf, MIDDLE, ROOT], staple)).from;
  assert.equal(await from(both, say("good", leaf)), "stapled");
  assert.equal(await from(both), "ocsp");
  assert.equal(await from(both, undefined, (url) => (url === LIST ? list : say("unknown", leaf))), "crl");
  assert.equal(await from({ ocsp: "off", crl: "soft" }, say("good", leaf)), "crl");
});

test("No answer is a fault with hard, and for a must-staple certificate; with soft it is recorded", async () => {
  const ways = async (extensions: Wanted["extensions"], ocsp: "soft" | "hard") => {
    const { status, fault } = await begin({ ocsp }, DOWN).ask([await leafOf(extensions), MIDDLE, ROOT]);
    return [status, fault];
  };
  assert.deepEqual(await ways([ASKED], "soft"), ["unknown", undefined]);
  assert.deepEqual(await ways([ASKED], "hard"), ["unknown", "revocationUnknown"]);
  assert.deepEqual(await ways([], "hard"), ["unknown", "revocationUnknown"]);
  assert.deepEqual(await ways([ASKED, MUST_STAPLE], "soft"), ["unknown", "revocationUnknown"]);
  assert.deepEqual(await ways([NEVER_TOLD], "hard"), ["exempt", undefined]);
});

test("A short-lived certificate without pointers is exempt", async () => {
  const leaf = await make({ subject: "CN=leaf", issuer: MIDDLE, from: -1, to: 5 });
  assert.equal((await begin({ ocsp: "hard" }, DOWN).ask([leaf, MIDDLE, ROOT])).status, "exempt");
});

test("CA certificates with pointers are checked too", async () => {
  const leaf = await leafOf([ASKED], ASKED_MIDDLE);
  const chain = [leaf, ASKED_MIDDLE, ROOT];
  const answers = (above: Say) => {
    let first = true;
    return (url: string) => {
      const own = first ? say("good", leaf, ASKED_MIDDLE) : above(url);
      first = false;
      return own;
    };
  };
  const good = await begin(
    { ocsp: "hard" },
    answers(() => say("good", ASKED_MIDDLE, ROOT)),
  ).ask(chain);
  assert.deepEqual([good.status, good.fault], ["good", undefined]);
  const revoked = await begin(
    {},
    answers(() => say("revoked", ASKED_MIDDLE, ROOT)),
  ).ask(chain);
  assert.deepEqual([revoked.status, revoked.fault], ["revoked", "revoked"]);
  assert.match(revoked.reason ?? "", /^CN=asked middle: /);
  assert.equal((await begin({ ocsp: "hard" }, answers(DOWN)).ask(chain)).fault, "revocationUnknown");
  assert.equal((await begin({ ocsp: "soft" }, answers(DOWN)).ask(chain)).fault, undefined);
});

test("A known answer is used without asking until it expires or its time in the cache ends", async () => {
  const leaf = await leafOf([ASKED]);
  const chain = [leaf, MIDDLE, ROOT];
  const { world, cache, ask } = begin({ keep: 10_000 }, () => say("good", leaf));
  assert.equal((await ask(chain)).cached, false);
  assert.equal((await ask(chain)).cached, true);
  assert.deepEqual([world.fetched.length, cache.hits, cache.misses], [1, 1, 1]);
  world.now += 10_000;
  world.say = () => say("revoked", leaf);
  assert.equal((await ask(chain)).fault, "revoked");
  assert.equal(cache.flush() > 0, true);
  world.now += 3_600_000;
  assert.match((await ask(chain)).reason ?? "", /expired/);
});

test("A responder that could not be reached is asked again after a pause, not for each certificate", async () => {
  const [one, two] = [await leafOf([ASKED]), await leafOf([ASKED])];
  const { world, ask } = begin({ ocsp: "hard" }, DOWN);
  assert.equal((await ask([one, MIDDLE, ROOT])).status, "unknown");
  assert.match((await ask([two, MIDDLE, ROOT])).reason ?? "", /a moment ago/);
  assert.equal(world.fetched.length, 1);
  world.now += 30_000;
  world.say = () => say("good", one);
  assert.equal((await ask([one, MIDDLE, ROOT])).status, "good");
});

test("With soft, a responder that has failed is asked behind the session, with growing pauses", async () => {
  const leaf = await leafOf([ASKED]);
  const chain = [leaf, MIDDLE, ROOT];
  const { world, ask } = begin({}, DOWN);
  const asked: number[] = [];
  const began = world.now;
  for (let seconds = 0; seconds < 600; seconds += 1) {
    world.now = began + seconds * 1000;
    const before = world.fetched.length;
    assert.equal((await ask(chain)).status, "unknown");
    if (world.fetched.length > before) asked.push(seconds);
  }
  assert.deepEqual(asked, [0, 30, 90, 210, 450]);

  // The answer comes while nobody waits for it.
  world.now += 3_600_000;
  world.say = () => say("revoked", leaf, MIDDLE, world.now);
  const meanwhile = await ask(chain);
  assert.deepEqual([meanwhile.status, meanwhile.fault], ["unknown", undefined]);
  assert.match(meanwhile.reason ?? "", /It cannot be reached/);
  world.now += 5_000;
  assert.equal((await ask(chain)).status, "revoked");
});

test("With soft, no session waits for a responder that has been silent, and what another one says counts", async () => {
  const other = "http://other.example/";
  const leaf = await leafOf([new x509.AuthorityInfoAccessExtension({ ocsp: [OCSP, other] })]);
  const { world, ask } = begin({}, (url) => (url.startsWith(OCSP) ? DOWN(url) : say("good", leaf)));
  assert.equal((await ask([leaf, MIDDLE, ROOT])).status, "good");
  const silent = await leafOf([ASKED]);
  world.now += 60_000;
  world.stopped = true;
  const quick = await ask([silent, MIDDLE, ROOT]);
  assert.equal(quick.status, "unknown");
});

test("A stapled response is used when the status was unknown before", async () => {
  const leaf = await leafOf([ASKED]);
  const { ask } = begin({}, DOWN);
  assert.equal((await ask([leaf, MIDDLE, ROOT])).status, "unknown");
  const late = await ask([leaf, MIDDLE, ROOT], say("good", leaf));
  assert.deepEqual([late.status, late.from], ["good", "stapled"]);
});

test("Sessions that ask at the same time share one request", async () => {
  const leaf = await leafOf([ASKED]);
  const { world, ask } = begin({}, () => say("good", leaf));
  await Promise.all(Array.from({ length: 10 }, () => ask([leaf, MIDDLE, ROOT])));
  assert.equal(world.fetched.length, 1);
});
