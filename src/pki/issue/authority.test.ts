import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { needs } from "../../../test/needs.ts";
import { ConfigError } from "../../errors.ts";
import { makeSelfSigned } from "../keys/key-request.ts";
import { createVault, PLAIN_VAULT } from "../keys/vault.ts";
import { readCertificate } from "../x509/certificate.ts";
import { emptyFolder, type Made, make, openssl } from "../x509/test-chain.ts";
import { openAuthorities } from "./authority.ts";
import { finishReplacement, replaceFiles } from "./authority-files.ts";

const NOW = Date.now();
const NAMES = ["primary-ecdsa", "primary-rsa", "secondary-ecdsa", "secondary-rsa"];

const given = ({ keyPem }: Pick<Made, "keyPem">, ...chain: readonly Made[]) => ({
  certificatePem: chain.map(({ pem }) => pem).join(""),
  keyPem,
  path: "signing.primary",
});

test("openAuthorities() makes four CAs at the first start, in files that only their owner may read", async (t) => {
  const folder = join(emptyFolder(t), "ca");
  const { list } = await openAuthorities(folder, {}, NOW);
  assert.deepEqual(readdirSync(folder).sort(), NAMES.flatMap((name) => [`${name}.key`, `${name}.pem`]).sort());
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  for (const file of readdirSync(folder)) assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600);
  assert.deepEqual(
    list().map(({ role, keyType, key }) => [
      role,
      keyType,
      key.asymmetricKeyDetails?.namedCurve ?? key.asymmetricKeyDetails?.modulusLength,
    ]),
    [
      ["primary", "ecdsa", "prime256v1"],
      ["primary", "rsa", 2048],
      ["secondary", "ecdsa", "prime256v1"],
      ["secondary", "rsa", 2048],
    ],
  );
});

test("Each CA may sign certificates but no CAs, is valid for ten years, and has a unique name", async (t) => {
  const { list } = await openAuthorities(emptyFolder(t), {}, NOW);
  assert.equal(new Set(list().map(({ certificate }) => certificate.subject)).size, 4);
  for (const { role, certificate, notBefore, notAfter } of list()) {
    assert.ok(certificate.ca);
    assert.ok(certificate.verify(certificate.publicKey));
    const { extensions } = readCertificate(certificate.raw);
    assert.deepEqual(
      [...extensions].map(([oid, { critical }]) => [oid, critical]),
      [
        ["551d13", true],
        ["551d0f", true],
        ["551d0e", false],
      ],
    );
    assert.ok(notBefore < NOW && notAfter > NOW + 9.9 * 365 * 86_400_000);
    assert.match(certificate.subject, role === "primary" ? /CN=Clearline Primary CA / : /untrusted: do not install/);
  }
});

test("OpenSSL's strict verification accepts the CAs", needs("openssl"), async (t) => {
  const folder = emptyFolder(t);
  await openAuthorities(folder, {}, NOW);
  for (const name of NAMES) {
    assert.match(
      openssl(folder, "verify", "-x509_strict", "-check_ss_sig", "-CAfile", `${name}.pem`, `${name}.pem`),
      /OK/,
    );
    const text = openssl(folder, "x509", "-in", `${name}.pem`, "-noout", "-text");
    assert.match(text, /Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/);
    assert.match(text, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/);
  }
});

test("A second start opens the same CAs", async (t) => {
  const folder = emptyFolder(t);
  const first = await openAuthorities(folder, {}, NOW);
  const second = await openAuthorities(folder, {}, NOW);
  assert.deepEqual(
    second.list().map(({ sha256 }) => sha256),
    first.list().map(({ sha256 }) => sha256),
  );
  assert.deepEqual(second.notices, []);
});

/** What `ca renew` leaves when it is interrupted: its drafts, and perhaps its commit. */
const DRAFTS = ["primary-ecdsa.key.new", "primary-ecdsa.pem.new", "primary-rsa.key.new", "primary-rsa.pem.new"];

/** A folder with CAs, beside each primary one the draft of another. */
async function interrupted(t: TestContext): Promise<{ folder: string; old: string[]; renewed: string[] }> {
  const folder = emptyFolder(t);
  const old = await openAuthorities(folder, {}, NOW);
  const next = emptyFolder(t);
  const renewed = await openAuthorities(next, {}, NOW);
  for (const draft of DRAFTS) copyFileSync(join(next, draft.replace(/\.new$/, "")), join(folder, draft));
  const primaries = ({ list }: typeof old) =>
    list().flatMap(({ role, sha256 }) => (role === "primary" ? [sha256] : []));
  return { folder, old: primaries(old), renewed: primaries(renewed) };
}

test("A renewal that was interrupted before all its files were written changes nothing", async (t) => {
  for (const written of [1, 2, 3, 4]) {
    const { folder, old } = await interrupted(t);
    for (const draft of DRAFTS.slice(written)) rmSync(join(folder, draft));
    const { list, notices, made } = await openAuthorities(folder, {}, NOW);
    assert.deepEqual([list()[0]!.sha256, list()[1]!.sha256], old);
    assert.deepEqual(notices, [`Making a CA in ${folder} was interrupted: nothing has changed`]);
    assert.deepEqual(made, []);
    assert.deepEqual(
      readdirSync(folder).filter((name) => !/\.(?:pem|key)$/.test(name)),
      [],
    );
  }
});

test("A renewal that was interrupted after that is completed, wherever it stopped", async (t) => {
  for (const renamed of [0, 1, 2, 3, 4]) {
    const { folder, renewed } = await interrupted(t);
    writeFileSync(join(folder, "renewal"), DRAFTS.map((draft) => `${draft.replace(/\.new$/, "")}\n`).join(""));
    for (const draft of DRAFTS.slice(0, renamed))
      renameSync(join(folder, draft), join(folder, draft.replace(/\.new$/, "")));
    const { list, made } = await openAuthorities(folder, {}, NOW);
    assert.deepEqual([list()[0]!.sha256, list()[1]!.sha256], renewed);
    assert.deepEqual(made, []);
    assert.deepEqual(
      readdirSync(folder).filter((name) => !/\.(?:pem|key)$/.test(name)),
      [],
    );
  }
});

test("Each CA that is made is reported once", async (t) => {
  const folder = emptyFolder(t);
  const { made } = await openAuthorities(folder, {}, NOW);
  assert.deepEqual(
    made.map((text) => /^Made a (\w+) CA with an (\w+) key: .*\.pem$/.exec(text)?.slice(1)),
    [
      ["primary", "ECDSA"],
      ["primary", "RSA"],
      ["secondary", "ECDSA"],
      ["secondary", "RSA"],
    ],
  );
  rmSync(join(folder, "primary-rsa.pem"));
  rmSync(join(folder, "primary-rsa.key"));
  assert.equal((await openAuthorities(folder, {}, NOW)).made.length, 1);
  assert.deepEqual((await openAuthorities(folder, {}, NOW)).made, []);
});

const SPOILT: readonly (readonly [string, (folder: string) => void, RegExp])[] = [
  [
    "a certificate whose key is gone",
    (folder) => rmSync(join(folder, "primary-ecdsa.key")),
    /Cannot open the primary CA: .*primary-ecdsa\.key is not there, but primary-ecdsa\.pem\. Put it back /,
  ],
  [
    "a key whose certificate is gone",
    (folder) => rmSync(join(folder, "secondary-rsa.pem")),
    /Cannot open the secondary CA: .*secondary-rsa\.pem is not there, but secondary-rsa\.key\. Put it back /,
  ],
  [
    "a CA of which only the files of an earlier renewal are left",
    (folder) => {
      for (const name of ["primary-rsa.pem", "primary-rsa.key"])
        renameSync(join(folder, name), join(folder, `${name}.old-20260101T000000.000Z`));
    },
    /primary-rsa\.pem is not there, but primary-rsa\.key\.old-\S+, primary-rsa\.pem\.old-\S+\. Put it back .* move all of \S+primary-rsa\.\* away/,
  ],
  [
    "a key of another certificate",
    (folder) => writeFileSync(join(folder, "primary-ecdsa.key"), readFileSync(join(folder, "secondary-ecdsa.key"))),
    /primary-ecdsa\.pem: the key does not belong/,
  ],
  [
    "a key file without a key",
    (folder) => writeFileSync(join(folder, "secondary-rsa.key"), "nothing"),
    /secondary-rsa\.key: it has no PEM private key/,
  ],
  [
    "a certificate file without a certificate",
    (folder) => writeFileSync(join(folder, "primary-rsa.pem"), ""),
    /primary-rsa\.pem: it has no PEM certificate/,
  ],
  [
    "the files of a CA of another key type",
    (folder) => copyBoth(folder, "primary-rsa", "primary-ecdsa"),
    /primary-ecdsa\.key: it has an RSA key, and this CA has an ECDSA one/,
  ],
  [
    "a primary CA's files in the place of the secondary's",
    (folder) => copyBoth(folder, "primary-rsa", "secondary-rsa"),
    /secondary-rsa\.pem: the primary and the secondary CA have the same key/,
  ],
];
function copyBoth(folder: string, from: string, to: string): void {
  for (const extension of ["key", "pem"])
    copyFileSync(join(folder, `${from}.${extension}`), join(folder, `${to}.${extension}`));
}

for (const [what, spoil, message] of SPOILT) {
  test(`openAuthorities() refuses ${what}, and names the file`, async (t) => {
    const folder = emptyFolder(t);
    await openAuthorities(folder, {}, NOW);
    spoil(folder);
    const kept = readdirSync(folder);
    await assert.rejects(
      openAuthorities(folder, {}, NOW),
      (error: Error) => error instanceof ConfigError && message.test(error.message),
    );
    assert.deepEqual(readdirSync(folder), kept);
  });
}

test("The access of other users to a key is removed and reported", async (t) => {
  const folder = emptyFolder(t);
  await openAuthorities(folder, {}, NOW);
  chmodSync(join(folder, "primary-rsa.key"), 0o644);
  chmodSync(folder, 0o755);
  const { notices } = await openAuthorities(folder, {}, NOW);
  assert.equal(notices.length, 1);
  assert.match(notices[0]!, /Other users could read .*primary-rsa\.key \(mode 644\)/);
  assert.equal(statSync(join(folder, "primary-rsa.key")).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
});

const notRoot = process.getuid?.() === 0 ? false : "needs root, to give a file to another user";
test("A key without read permission is an error of one line that names the file", { skip: notRoot }, async (t) => {
  const folder = emptyFolder(t);
  await openAuthorities(folder, {}, NOW);
  chownSync(folder, 65534, 65534);
  process.seteuid?.(65534);
  try {
    await assert.rejects(openAuthorities(folder, {}, NOW), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.match(
        error.message,
        /^Cannot use .*primary-ecdsa\.pem: it belongs to user 0, and the node runs as user 65534: /,
      );
      return true;
    });
  } finally {
    process.seteuid?.(0);
  }
});

test("renew() makes new CAs of both key types and keeps the old files", async (t) => {
  const folder = emptyFolder(t);
  const authorities = await openAuthorities(folder, {}, NOW);
  const before = authorities.list();
  const old = readFileSync(join(folder, "primary-ecdsa.key"), "utf8");
  await Promise.all([authorities.renew("primary", NOW), authorities.renew("primary", NOW + 1)]);
  const after = authorities.list();
  assert.deepEqual(
    after.map(({ sha256 }, index) => sha256 === before[index]!.sha256),
    [false, false, true, true],
  );
  for (const { certificate, key } of after) assert.ok(certificate.checkPrivateKey(key));
  const kept = readdirSync(folder)
    .filter((name) => name.startsWith("primary-ecdsa.key.old-"))
    .sort();
  assert.equal(kept.length, 2);
  assert.equal(readFileSync(join(folder, kept[0]!), "utf8"), old);
  for (const name of readdirSync(folder)) assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
  const reopened = await openAuthorities(folder, {}, NOW);
  assert.deepEqual(
    reopened.list().map(({ sha256 }) => sha256),
    after.map(({ sha256 }) => sha256),
  );
});

test("A lack of descriptors at any step of a replacement leaves all the old files or all the new ones", async (t) => {
  const folder = emptyFolder(t);
  const all = (["ecdsa", "rsa"] as const).map((keyType) => {
    return { base: join(folder, `primary-${keyType}`), role: "primary", keyType } as const;
  });
  const write = (text: string) =>
    replaceFiles(all, NOW, { vault: PLAIN_VAULT }, async () => ({ keyPem: text, pem: text }));
  await write("old");
  const { open } = files;
  let calls = 0;
  let fails = 0;
  const lacking = t.mock.method(files, "open", (...args: Parameters<typeof open>) => {
    calls += 1;
    return calls === fails ? Promise.reject(Object.assign(new Error("EMFILE"), { code: "EMFILE" })) : open(...args);
  });
  syncBuiltinESMExports();
  t.after(() => {
    lacking.mock.restore();
    syncBuiltinESMExports();
  });
  for (let failed = true, before = "old"; failed; ) {
    [calls, fails] = [0, fails + 1];
    const text = `new ${fails}`;
    failed = await write(text).then(
      () => false,
      () => true,
    );
    calls = Number.POSITIVE_INFINITY;
    await finishReplacement(folder, () => undefined);
    const found = new Set(
      NAMES.slice(0, 2)
        .flatMap((name) => [`${name}.key`, `${name}.pem`])
        .map((name) => readFileSync(join(folder, name), "utf8")),
    );
    assert.deepEqual(
      [...found],
      [failed && !found.has(text) ? before : text],
      `without the descriptor of step ${fails}`,
    );
    before = [...found][0]!;
  }
  assert.ok(fails > 20);
});

test("An expired CA of the node's own is renewed, and that is reported", async (t) => {
  const folder = emptyFolder(t);
  const before = await openAuthorities(folder, {}, NOW - 11 * 365 * 86_400_000);
  const { list, notices } = await openAuthorities(folder, {}, NOW);
  assert.equal(notices.length, 4);
  assert.match(notices[0]!, /primary-ecdsa\.pem had expired and was renewed/);
  for (const [index, { sha256, notAfter }] of list().entries()) {
    assert.notEqual(sha256, before.list()[index]!.sha256);
    assert.ok(notAfter > NOW);
  }
});

test("A CA that expires soon is reported at the start", async (t) => {
  const soon = await make({ subject: "CN=soon", ca: true, to: 20 });
  const { notices } = await openAuthorities(emptyFolder(t), { primary: given(soon, soon) }, NOW);
  assert.equal(notices.length, 1);
  assert.match(notices[0]!, /^The primary CA [0-9a-f]{16} expires on \d{4}-\d\d-\d\d$/);
});

for (const algorithm of ["P-256", "P-384", "rsa"] as const) {
  test(`A given ${algorithm} intermediate CA signs for its role, and its chain without the root is presented`, async (t) => {
    const root = await make({ subject: "CN=root", ca: true });
    const upper = await make({ subject: "CN=upper", ca: true, issuer: root });
    const lower = await make({ subject: "CN=lower", ca: true, issuer: upper, usages: 0x60, algorithm });
    const { find, list } = await openAuthorities(emptyFolder(t), { primary: given(lower, lower, upper, root) }, NOW);
    assert.equal(find("primary", "rsa"), find("primary", "ecdsa"));
    assert.equal(list().length, 3);
    const { chainPem, keyType } = find("primary", "rsa");
    assert.equal(chainPem, lower.pem + upper.pem);
    assert.equal(keyType, algorithm === "rsa" ? "rsa" : "ecdsa");
    assert.equal(find("secondary", "rsa").given, false);
  });
}

test("With a secret the keys of all CAs are encrypted: existing, renewed and replaced ones", async (t) => {
  const folder = emptyFolder(t);
  const before = await openAuthorities(folder, {}, NOW);
  await before.renew("secondary", NOW);
  const vault = createVault({
    current: { kind: "passphrase", text: "a long passphrase", path: "keyStore.passphraseFile" },
  });
  const sealed = await openAuthorities(folder, {}, NOW, vault);
  assert.deepEqual(
    sealed.list().map(({ sha256 }) => sha256),
    before.list().map(({ sha256 }) => sha256),
  );
  assert.equal(
    sealed.notices.filter((text) => /^Rewrote the private key in .*, as keyStore requires/.test(text)).length,
    4,
  );
  await sealed.renew("primary", NOW);
  for (const name of readdirSync(folder).filter((file) => file.includes(".key"))) {
    assert.match(readFileSync(join(folder, name), "utf8"), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600);
  }
  const reopened = await openAuthorities(folder, {}, NOW, vault);
  assert.deepEqual(reopened.notices, []);
  assert.deepEqual(reopened.find("primary", "rsa").sha256, sealed.find("primary", "rsa").sha256);
  await assert.rejects(openAuthorities(folder, {}, NOW), (error: Error) => {
    assert.ok(error instanceof ConfigError);
    assert.match(error.path, /\.key$/);
    return true;
  });
});

test("The key of a given CA may be encrypted, and must not be Ed25519", async (t) => {
  const root = await make({ subject: "CN=root", ca: true });
  const primary = { ...given({ keyPem: encrypt(root) }, root), passphrase: "secret" };
  const { find } = await openAuthorities(emptyFolder(t), { primary }, NOW);
  assert.equal(find("primary", "rsa").given, true);
  const wrong = { ...primary, passphrase: "wrong" };
  await assert.rejects(
    openAuthorities(emptyFolder(t), { primary: wrong }, NOW),
    /signing\.primary: its key cannot be decrypted/,
  );
  const edwards = await makeSelfSigned(["ca"], "ed25519", NOW, NOW + 1e9);
  const cannot = { primary: { ...edwards, path: "signing.primary" } };
  await assert.rejects(openAuthorities(emptyFolder(t), cannot, NOW), /signing\.primary: its key is Ed25519/);
});

test("openAuthorities() refuses a given CA that cannot sign, and names its place in the configuration", async (t) => {
  const root = await make({ subject: "CN=root", ca: true });
  const other = await make({ subject: "CN=other", ca: true });
  const leaf = await make({ subject: "CN=leaf" });
  const blunt = await make({ subject: "CN=blunt", ca: true, usages: 1 });
  const old = await make({ subject: "CN=old", ca: true, from: -9, to: -1 });
  const early = await make({ subject: "CN=early", ca: true, from: 3, to: 9 });
  const weak = await make({ subject: "CN=weak", ca: true, algorithm: "rsa-1024" });
  const encrypted = encrypt(root);
  const cases: [RegExp, ReturnType<typeof given>][] = [
    [/the key does not belong to the first certificate/, given(other, root)],
    [/does not allow it to sign certificates/, given(leaf, leaf)],
    [/does not allow it to sign certificates/, given(blunt, blunt)],
    [/its certificate expired on/, given(old, old)],
    [/its certificate is not valid before/, given(early, early)],
    [/its key is neither RSA of at least 2048 bits nor ECDSA/, given(weak, weak)],
    [/its key is encrypted/, given({ keyPem: encrypted }, root)],
    [/it has no PEM private key/, given({ keyPem: "" }, root)],
    [/it has no PEM certificate/, given(root)],
    [/certificate 2 is not the issuer of certificate 1/, given(root, root, other)],
    [
      /certificate 1 cannot be read/,
      { ...given(root), certificatePem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" },
    ],
  ];
  const folder = emptyFolder(t);
  for (const [message, primary] of cases) {
    await assert.rejects(openAuthorities(folder, { primary }, NOW), (error: Error) => {
      assert.ok(error instanceof ConfigError);
      assert.equal(error.path, "signing.primary");
      assert.match(error.message, message);
      return true;
    });
  }
});

test("The two roles must not have the same key, and a given CA cannot be renewed", async (t) => {
  const root = await make({ subject: "CN=root", ca: true });
  const folder = emptyFolder(t);
  const both = { primary: given(root, root), secondary: { ...given(root, root), path: "signing.secondary" } };
  await assert.rejects(
    openAuthorities(folder, both, NOW),
    /signing\.secondary: the primary and the secondary CA have the same key/,
  );
  const { renew } = await openAuthorities(folder, { primary: both.primary }, NOW);
  await assert.rejects(renew("primary", NOW), /Cannot renew the primary CA: it is given in signing\.primary/);
});

test("The secondary CA must not have the primary CA or its issuer for its issuer", async (t) => {
  const root = await make({ subject: "CN=root", ca: true });
  const one = await make({ subject: "CN=one", ca: true, issuer: root });
  const two = await make({ subject: "CN=two", ca: true, issuer: root });
  const below = await make({ subject: "CN=below", ca: true, issuer: one });
  const apart = await make({ subject: "CN=apart", ca: true });
  const open = (secondary: Made) => {
    const roles = {
      primary: given(one, one),
      secondary: { ...given(secondary, secondary), path: "signing.secondary" },
    };
    return openAuthorities(emptyFolder(t), roles, NOW);
  };
  for (const secondary of [two, below]) {
    await assert.rejects(open(secondary), /signing\.secondary: the secondary CA has the primary CA/);
  }
  await open(apart);
});

function encrypt({ keyPem }: Made): string {
  const key = createPrivateKey(keyPem);
  return key.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "secret" }).toString();
}
