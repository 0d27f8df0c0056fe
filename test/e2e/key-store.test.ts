import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, globSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import type { KeyInfo } from "../../src/control/api.ts";
import { nextChunk, opensslClient } from "../clients.ts";
import { needs, program } from "../needs.ts";
import { MAIN, startNode, type TestNode } from "../node.ts";
import { type Nginx, nginx, type Origin, opensslServer } from "../peers.ts";
import { DOMAIN, type Identity, makeLeaf, makePki, type Pki } from "../pki.ts";
import { freePort, must, run, scratch, start } from "../processes.ts";

const PASSPHRASE = "under which the store lies";
const FILE_PASSPHRASE = "correct horse";

describe("The key store", needs("openssl", "nginx-light"), () => {
  const folder = scratch();
  let pki: Pki;
  let origin: Nginx;
  let reversing: Origin;
  let elsewhere: Origin;
  const servers: Record<string, string> = {};
  let node: TestNode;
  const ports = new Map<string, number>();
  const config = () => ({
    keyStore: { passphraseFile: join(folder, "store.pass") },
    listeners: [...ports].map(([name, port]) => ({
      name,
      mode: "forward",
      address: `127.0.0.1:${port}`,
      server: servers[name] ?? `127.0.0.1:${origin.port}`,
      ...(name !== "resigning" && { onMissingKey: name === "dropping" ? "drop" : "bypass" }),
    })),
    keys: [
      { hosts: [`rsa.${DOMAIN}`], certificate: join(folder, "rsa-chain.pem"), ...encrypted("rsa.key") },
      { pkcs12: join(folder, "leaf.p12"), passphraseFile: join(folder, "file.pass") },
      // Without SNI no name is compared, and the server's own certificate is for other names.
      { hosts: ["127.0.0.2"], acceptFaults: ["hostMismatch"], ...held },
    ],
  });
  const encrypted = (key: string) => ({ key: join(folder, key), passphraseFile: join(folder, "file.pass") });
  let leaf: Identity;
  let held: Identity;

  before(async () => {
    pki = await makePki();
    leaf = await makeLeaf(pki, "p12", `DNS:p12.${DOMAIN},DNS:p12-too.${DOMAIN}`);
    held = await makeLeaf(pki, "by-address", "IP:127.0.0.2");
    origin = await nginx(pki.server.ecdsa);
    reversing = await opensslServer(pki.server.ecdsa, { mode: "-rev" });
    const port = await freePort();
    elsewhere = await opensslServer(pki.server.ecdsa, { more: ["-accept", `127.0.0.2:${port}`] });
    servers["reversing"] = `127.0.0.1:${reversing.port}`;
    servers["elsewhere"] = `127.0.0.2:${port}`;
    writeFileSync(join(folder, "store.pass"), `${PASSPHRASE}\n`, { mode: 0o600 });
    writeFileSync(join(folder, "file.pass"), `${FILE_PASSPHRASE}\n`, { mode: 0o600 });
    const chain = [pki.server.rsa, pki.root].map(({ certificate }) => readFileSync(certificate, "utf8"));
    writeFileSync(join(folder, "rsa-chain.pem"), chain.join(""));
    const under = ["-passout", `file:${join(folder, "file.pass")}`];
    await openssl(
      "pkcs8",
      "-topk8",
      "-v2",
      "aes-256-cbc",
      ...under,
      "-in",
      pki.server.rsa.key,
      "-out",
      join(folder, "rsa.key"),
    );
    await exportLeaf(leaf, "leaf.p12");
    for (const name of ["passing", "dropping", "resigning", "reversing", "elsewhere"])
      ports.set(name, await freePort());
    node = await startNode({ trust: [pki.root.certificate], config: config() });
  });
  after(async () => {
    await node?.stop();
    await origin?.process.stop();
    await reversing?.process.stop();
    await elsewhere?.process.stop();
  });

  const openssl = (...args: readonly string[]) => must(program("openssl"), args);

  function exportLeaf({ certificate, key }: Identity, name: string): Promise<string> {
    const pass = ["-passout", `file:${join(folder, "file.pass")}`];
    return openssl("pkcs12", "-export", "-in", certificate, "-inkey", key, ...pass, "-out", join(folder, name));
  }

  /** The certificates that openssl's client gets, after it has verified them. */
  async function shown(
    listener: string,
    name: string | undefined,
    roots = pki.root.certificate,
  ): Promise<X509Certificate[]> {
    const way = { port: ports.get(listener)! };
    const who = name === undefined ? {} : { name };
    const { code, stdout, stderr } = await opensslClient({ way, ...who, roots, more: ["-showcerts"] });
    assert.equal(code, 0, stderr);
    const pems = stdout.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const certificates = pems.map((pem) => new X509Certificate(pem));
    // openssl prints the first one again, as the server's certificate.
    return certificates.filter(
      (one, index) => certificates.findIndex(({ serialNumber }) => serialNumber === one.serialNumber) === index,
    );
  }

  /** Opens a session with the server, which sends lines back reversed. */
  async function open(host: string, sigalgs?: string): Promise<tls.TLSSocket> {
    const options = { port: ports.get("reversing")!, host: "127.0.0.1", servername: host };
    const socket = tls.connect({ ...options, rejectUnauthorized: false, ...(sigalgs !== undefined && { sigalgs }) });
    await once(socket, "secureConnect");
    return socket;
  }

  async function reversed(socket: tls.TLSSocket, text: string): Promise<void> {
    socket.write(`${text}\n`);
    assert.equal((await nextChunk(socket))?.toString(), `${[...text].reverse().join("")}\n`);
  }

  async function close(socket: tls.TLSSocket): Promise<void> {
    socket.end();
    socket.resume();
    await once(socket, "close");
  }

  const serialOf = (file: string) => new X509Certificate(readFileSync(file)).serialNumber;
  const list = () => node.api<KeyInfo[]>("keys");

  test("The client gets the chain of a key that is encrypted in its file", async () => {
    const chain = await shown("dropping", `rsa.${DOMAIN}`);
    assert.deepEqual(
      chain.map(({ serialNumber }) => serialNumber),
      [serialOf(pki.server.rsa.certificate), serialOf(pki.root.certificate)],
    );
    const session = await node.session(`rsa.${DOMAIN}`);
    assert.deepEqual([session.deployment, session.verdict, session.presented?.keyType], ["inbound", "decrypt", "rsa"]);
  });

  test("The client gets the certificate of a PKCS#12 file, for the certificate's names", async () => {
    for (const name of [`p12.${DOMAIN}`, `p12-too.${DOMAIN}`]) {
      const [certificate] = await shown("dropping", name);
      assert.equal(certificate?.serialNumber, serialOf(leaf.certificate));
    }
  });

  test("A client without SNI gets the certificate for the server's address", async () => {
    const [certificate] = await shown("elsewhere", undefined);
    assert.equal(certificate?.serialNumber, serialOf(held.certificate));
  });

  test("`keys add` takes an encrypted PEM key or a PKCS#12 file, and stores the key encrypted in the data folder", async () => {
    const added = await makeLeaf(pki, "added", `DNS:added.${DOMAIN}`);
    await exportLeaf(added, "added.p12");
    const pass = ["--passphrase-file", join(folder, "file.pass")];
    const { code, stdout, stderr } = await node.command(
      "keys",
      "add",
      "--pkcs12",
      join(folder, "added.p12"),
      ...pass,
      "--json",
    );
    assert.equal(code, 0, stderr);
    const { id, hosts, origin: from, state } = JSON.parse(stdout) as KeyInfo;
    assert.deepEqual([hosts, from, state], [[`added.${DOMAIN}`], "added", "valid"]);
    const [certificate] = await shown("dropping", `added.${DOMAIN}`);
    assert.equal(certificate?.serialNumber, serialOf(added.certificate));

    const file = join(node.folder, "data/keys", `${id}.json`);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const sealed = join(folder, "sealed.pem");
    writeFileSync(sealed, (JSON.parse(readFileSync(file, "utf8")) as { keyPem: string }).keyPem);
    const opened = await openssl("pkey", "-in", sealed, "-passin", `file:${join(folder, "store.pass")}`);
    assert.deepEqual(
      createPrivateKey(opened).export({ format: "jwk" }),
      createPrivateKey(readFileSync(added.key)).export({ format: "jwk" }),
    );
  });

  test("`keys add` reports a wrong passphrase, a key of another certificate and an unreadable file, without key bytes", async () => {
    const wrong = join(folder, "wrong.pass");
    writeFileSync(wrong, "another\n");
    const cases: [RegExp, readonly string[]][] = [
      [
        /its PKCS#12 file is encrypted with another passphrase/,
        ["--pkcs12", join(folder, "leaf.p12"), "--passphrase-file", wrong],
      ],
      [/its PKCS#12 file is not PKCS#12/, ["--pkcs12", leaf.key]],
      [
        /its key cannot be decrypted: the passphrase is wrong/,
        ["--certificate", pki.server.rsa.certificate, "--key", join(folder, "rsa.key"), "--passphrase-file", wrong],
      ],
      [/its key is encrypted/, ["--certificate", pki.server.rsa.certificate, "--key", join(folder, "rsa.key")]],
      [/its key does not belong to its certificate/, ["--certificate", leaf.certificate, "--key", pki.server.rsa.key]],
      [/does not hold its private key/, ["--certificate", pki.server.ecdsa.certificate]],
    ];
    for (const [message, args] of cases) {
      const { code, stdout, stderr } = await node.command("keys", "add", ...args);
      assert.equal(code, 2, stdout);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /BEGIN|MII|\n\s+at /);
    }
  });

  test("A key that the node made is used once a CA has signed its request, and never leaves the node", async () => {
    const name = `made.${DOMAIN}`;
    const {
      code,
      stdout: request,
      stderr,
    } = await node.command("keys", "generate", "--host", name, "--type", "ed25519");
    assert.equal(code, 0, stderr);
    const [, id] = /^Key ([0-9a-f]{16}) waits for its certificate/.exec(stderr) ?? [];
    assert.equal((await list()).find((key) => key.id === id)?.state, "waiting");
    const files = { csr: join(folder, "made.csr"), certificate: join(folder, "made.pem") };
    writeFileSync(files.csr, request);
    const ca = ["-CA", pki.root.certificate, "-CAkey", pki.root.key, "-copy_extensions", "copy", "-days", "9"];
    await openssl("x509", "-req", "-in", files.csr, ...ca, "-out", files.certificate);
    const added = await node.command("keys", "add", "--certificate", files.certificate);
    assert.equal(added.code, 0, added.stderr);
    assert.match(added.stdout, new RegExp(`new sessions with ${name} get this certificate`));
    assert.match(added.stdout, /expires soon/);
    const [certificate] = await shown("dropping", name);
    assert.equal(certificate?.serialNumber, serialOf(files.certificate));
    assert.equal(certificate?.publicKey.asymmetricKeyType, "ed25519");
    assert.equal(
      (await list()).some((key) => key.state === "waiting"),
      false,
    );
    assert.match(
      (await node.command("keys", "list")).stdout,
      new RegExp(`${name} +ed25519 +\\S+ +expires soon +keys add`),
    );
  });

  test("A session whose key is missing is bypassed or dropped, as its listener says, and re-signed by default", async () => {
    const [own] = await shown("passing", `missing-1.${DOMAIN}`);
    assert.equal(own?.serialNumber, serialOf(pki.server.ecdsa.certificate));
    const passed = await node.session(`missing-1.${DOMAIN}`);
    assert.deepEqual([passed.verdict, passed.phase, passed.rule], ["bypass", "sni", "missing key"]);
    assert.match(passed.reason ?? "", /holds no key for this server, and listener passing does not re-sign/);
    assert.equal(passed.certificate, null);

    const way = { port: ports.get("dropping")! };
    const refused = await opensslClient({ way, name: `missing-2.${DOMAIN}`, roots: pki.root.certificate });
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /alert access denied/);
    const dropped = await node.session(`missing-2.${DOMAIN}`);
    assert.deepEqual([dropped.verdict, dropped.phase, dropped.rule], ["drop", "sni", "missing key"]);

    const [signed] = await shown("resigning", `missing-3.${DOMAIN}`, node.primary);
    assert.notEqual(signed?.serialNumber, own?.serialNumber);
    assert.equal((await node.session(`missing-3.${DOMAIN}`)).deployment, "outbound");

    const asked = ["explain", "--host", `missing-4.${DOMAIN}`, "--server", "192.0.2.1:443", "--listener", "dropping"];
    const { stdout } = await node.command(...asked);
    assert.match(stdout, /drop[^\n]*missing key/i);
  });

  test("A live session goes on while its key is replaced and removed; new sessions follow each change", async () => {
    const name = `hot.${DOMAIN}`;
    const [first, second] = [await makeLeaf(pki, "hot-1", `DNS:${name}`), await makeLeaf(pki, "hot-2", `DNS:${name}`)];
    const add = async ({ certificate, key }: Identity) => {
      const [pem, keyPem] = [certificate, key].map((file) => readFileSync(file, "utf8"));
      return (await node.api<KeyInfo>("keys", "POST", { certificate: pem, key: keyPem })).id;
    };
    const firstId = await add(first);
    const live = await open(name);
    assert.equal(live.getPeerX509Certificate()?.serialNumber, serialOf(first.certificate));
    await reversed(live, "before");
    const secondId = await add(second);
    for (const id of [firstId, secondId]) {
      await reversed(live, `while ${id} goes`);
      await node.api(`keys/${id}`, "DELETE");
    }
    assert.equal(
      (await list()).some(({ hosts }) => hosts.includes(name)),
      false,
    );
    await reversed(live, "after");
    await close(live);
    assert.equal((await node.session(name)).deployment, "inbound");

    await add(second);
    const again = await open(name);
    assert.equal(again.getPeerX509Certificate()?.serialNumber, serialOf(second.certificate));
    await close(again);
  });

  test("Added keys stay in the data folder of the start, though a reload names another one", async () => {
    node.rewrite({ ...config(), dataDir: "./elsewhere" });
    // The command would look for the token in the new folder.
    const { changes } = await node.api<{ changes: string[] }>("reload", "POST");
    assert.deepEqual(changes, ["dataDir changed: that takes effect when the node is started again"]);
    const before = await list();
    assert.ok(before.some(({ origin: from }) => from === "added"));
    const more = await makeLeaf(pki, "late", `DNS:late.${DOMAIN}`);
    const [certificate, key] = [more.certificate, more.key].map((file) => readFileSync(file, "utf8"));
    const { id } = await node.api<KeyInfo>("keys", "POST", { certificate, key });
    assert.equal((await list()).length, before.length + 1);
    assert.ok(existsSync(join(node.folder, "data/keys", `${id}.json`)));
    assert.equal(existsSync(join(node.folder, "elsewhere")), false);
    node.rewrite(config());
    await node.api("reload", "POST");
    // A reload warns about the added certificate, which is valid for nine days, and `check` about a certificate of the file.
    assert.match(node.process.output(), /The certificate of [^"]*\.json \(made\.[^"]*\) expires on \d{4}-\d\d-\d\d/);
    const expired = { ...config(), keys: [{ hosts: [`old.${DOMAIN}`], ...pki.faulty.expired }] };
    node.rewrite(expired);
    assert.match(
      (await node.command("check")).stdout,
      /Warning: The certificate of keys\[0\] \(old\.[^)]*\) expired on 2021-01-01/,
    );
    node.rewrite(config());
  });

  test("Adding keys during a reload does not restore the old configuration", async () => {
    for (const round of ["first", "second", "third"]) {
      node.rewrite({
        ...config(),
        policy: { rules: [{ name: round, match: { host: "never.test" }, action: "drop" }] },
      });
      const hosts = [1, 2, 3].map((index) => [`${round}-${index}.${DOMAIN}`]);
      await Promise.all([
        node.api("reload", "POST"),
        ...hosts.map((names) => node.api("keys/generate", "POST", { hosts: names, selfSignedDays: 90 })),
      ]);
      const { order } = await node.api<{ order: { name: string }[] }>("policy");
      assert.ok(order.some(({ name }) => name === round));
      const held = await list();
      for (const names of hosts) assert.ok(held.some((key) => key.hosts.join() === names.join()));
    }
    node.rewrite(config());
    await node.api("reload", "POST");
  });

  test("A host with keys of three types uses the one that each client prefers, and the record says which", async () => {
    const name = `three.${DOMAIN}`;
    // The server itself has an ECDSA certificate, and is never offered more than the client offers.
    for (const [type, sigalgs, keyType] of [
      ["ecdsa", "ecdsa_secp256r1_sha256", "ecdsa"],
      ["rsa", "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", "rsa"],
      ["ed25519", "ed25519:ecdsa_secp256r1_sha256", "ed25519"],
    ] as const) {
      await node.api("keys/generate", "POST", { hosts: [name], keyType: type, selfSignedDays: 90 });
      const since = Date.now();
      const socket = await open(name, sigalgs);
      const shown = socket.getPeerX509Certificate();
      const { localPort = 0 } = socket;
      await reversed(socket, type);
      await close(socket);
      const { presented } = await node.sessionFrom(localPort, since);
      assert.equal(presented?.keyType, keyType);
      assert.equal(presented?.sha256, shown?.fingerprint256.replaceAll(":", "").toLowerCase());
    }
  });

  test("The API, the log and the data folder have no private key in plaintext", async () => {
    const keyFiles = [
      leaf,
      held,
      pki.server.rsa,
      ...["added", "hot-1", "hot-2", "late"].map((name) => ({ key: join(pki.folder, `${name}.key`) })),
    ];
    const answers = await Promise.all(
      ["keys", "sessions?live=all&limit=1000", "stats", "openapi.json", "ca", "policy", "caches"].map((path) =>
        node.api<unknown>(path),
      ),
    );
    const metrics = await fetch(node.url.replace("/api/v1", "/metrics"), {
      headers: { authorization: `Bearer ${readFileSync(join(node.folder, "data/token"), "utf8").trim()}` },
    });
    assert.equal(metrics.status, 200);
    const figures = await metrics.text();
    assert.match(figures, /^clearline_keys\{state="valid"\} \d+$/m);
    const files = globSync(join(node.folder, "data/**/*")).filter((file) => statSync(file).isFile());
    assert.ok(files.some((file) => file.endsWith("primary-ecdsa.key")));
    const texts = [
      ...answers.map((answer) => JSON.stringify(answer)),
      figures,
      node.process.output(),
      ...files.map((file) => readFileSync(file, "latin1")),
    ];
    for (const text of texts) assert.doesNotMatch(text, /BEGIN (?:RSA |EC )?PRIVATE KEY/);
    for (const { key } of keyFiles) {
      const { d = "" } = createPrivateKey(readFileSync(key)).export({ format: "jwk" });
      const secret = Buffer.from(d, "base64url");
      const forms = [secret.toString("latin1"), secret.toString("hex"), d, secret.toString("base64")];
      // Base64 looks different at each of the three offsets in its groups.
      for (const pad of [0, 1, 2])
        forms.push(
          Buffer.concat([Buffer.alloc(pad), secret])
            .toString("base64")
            .slice(4, 40),
        );
      for (const text of texts) assert.ok(!forms.some((form) => text.replaceAll(/\\n|\n/g, "").includes(form)));
    }
  });
});

describe("A store under a passphrase", needs("openssl"), () => {
  test("does not open with another passphrase or none; with the old one in keyStore.former it is encrypted again", async () => {
    const folder = scratch();
    const pki = await makePki();
    const [oldPass, newPass] = [join(folder, "old.pass"), join(folder, "new.key")];
    writeFileSync(oldPass, "the old passphrase\n", { mode: 0o600 });
    writeFileSync(newPass, Buffer.alloc(48, "random enough"), { mode: 0o600 });
    const proxy = await freePort();
    const listeners = [{ name: "proxy", mode: "explicit", address: `127.0.0.1:${proxy}` }];
    const first = await startNode({ trust: [pki.root.certificate], config: { listeners } });
    const [certificate, key] = [pki.server.rsa.certificate, pki.server.rsa.key].map((file) =>
      readFileSync(file, "utf8"),
    );
    const { id } = await first.api<KeyInfo>("keys", "POST", { certificate, key, hosts: ["a.test"] });
    await first.stop();
    const restart = async (keyStore: object, works: (keys: readonly KeyInfo[]) => void) => {
      first.rewrite({ listeners, keyStore });
      const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
      const node = start(process.execPath, [MAIN, "run", "-c", first.file], { cwd: first.folder, env });
      await node.shows(/Clearline runs with/);
      works(await first.api<KeyInfo[]>("keys"));
      assert.equal((await node.stop()).code, 0, node.output());
    };
    const file = join(first.folder, "data/keys", `${id}.json`);
    const holdsIt = (keys: readonly KeyInfo[]) =>
      assert.deepEqual(
        keys.map((one) => one.id),
        [id],
      );

    assert.match(readFileSync(file, "utf8"), /BEGIN PRIVATE KEY/);
    await restart({ passphraseFile: oldPass }, holdsIt);
    assert.match(readFileSync(file, "utf8"), /BEGIN ENCRYPTED PRIVATE KEY/);
    for (const keyStore of [{}, { keyFile: newPass }, { passphraseFile: oldPass, keyFile: newPass }]) {
      first.rewrite({ listeners, keyStore });
      const { code, stderr } = await run(process.execPath, [MAIN, "run", "-c", first.file], { cwd: first.folder });
      assert.equal(code, 2, stderr);
      assert.ok(stderr.includes("keyStore."), stderr);
      if (!("passphraseFile" in keyStore)) assert.ok(stderr.includes(file), stderr);
    }
    await restart({ keyFile: newPass, former: { passphraseFile: oldPass } }, holdsIt);
    await restart({ keyFile: newPass }, holdsIt);
  });
});
