import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { ConfigError } from "../errors.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import { packList } from "../policy/list-table.ts";
import { faultActions } from "../policy/test-policy.ts";
import { feedPlace } from "./feed.ts";
import { type Loaded, loadConfig } from "./load.ts";
import { configSchemaJson } from "./schema.ts";

const folder = mkdtempSync(join(tmpdir(), "clearline-config-"));
after(() => rmSync(folder, { recursive: true }));
process.chdir(folder);

function write(name: string, content: string): string {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return name;
}

const PROXY = 'listeners: [{ name: proxy, mode: explicit, address: "127.0.0.1:8080" }]\n';

test("The caller's check gets the certificates and keys, and its errors join the others with their places", async () => {
  const file = write(
    "checked.yaml",
    `${PROXY}colour: red\nkeys: [{ hosts: [www.example.com], certificate: www.pem, key: www2.key }]`,
  );
  write("www.pem", "certificate");
  write("www2.key", "key");
  const check = ({ keys, signing, trustFiles }: Pick<Loaded, "keys" | "signing" | "trustFiles">) => {
    assert.deepEqual([signing, trustFiles], [{}, []]);
    assert.deepEqual(keys, [
      { path: "keys[0]", certificatePem: "certificate", keyPem: "key", hosts: ["www.example.com"] },
    ]);
    return [new ConfigError("keys[0]", "they do not match")];
  };
  await assert.rejects(loadConfig(file, check), ({ errors }: AggregateError) => {
    assert.deepEqual(
      errors.map(({ path, message }: ConfigError) => [path, message]),
      [
        ["colour", "checked.yaml:2:1: colour is not known"],
        ["keys[0]", "checked.yaml:3:8: they do not match"],
      ],
    );
    return true;
  });
});

test("A whole configuration is read with the files that it names, relative to its own folder", async () => {
  write("conf/bypass.txt", "# banks\n*.bank.example\n10.0.0.0/8\n");
  write("conf/www.pem", "leaf");
  write("conf/www.key", "secret");
  write("conf/ca.pem", "ca");
  write("conf/ca.key", "ca secret");
  chmodSync(join(folder, "conf/www.key"), 0o640);
  chmodSync(join(folder, "conf/ca.key"), 0o600);
  const file = write(
    "conf/clearline.yaml",
    `
dataDir: ./data
workers: 2
console: { address: "[::1]:9000" }
trust: { system: false, files: [ca.pem] }
listeners:
  - { name: proxy, mode: explicit, address: "127.0.0.1:8080" }
  - { name: web, mode: forward, address: "0.0.0.0:8443", server: "Origin.Example:443" }
policy:
  default: bypass
  lists: { bypass: [./bypass.txt] }
  rules: [{ name: lab, match: { port: 443, client: [10.9.0.0/16], listener: web }, action: decrypt }, { name: all, action: drop }]
signing: { secondary: { certificate: ca.pem, key: ca.key }, validity: 90d }
keys: [{ hosts: [www.example.com], certificate: www.pem, key: www.key }]
feeds: [{ name: archive, kind: pcapng, directory: ./captures, rotate: 1GiB }]
timeouts: { hello: 250ms }
`,
  );
  const loaded = await loadConfig(file);
  const { config, policy } = loaded;
  assert.equal(config.dataDir, join(folder, "conf/data"));
  assert.deepEqual(config.console.address, { host: "::1", port: 9000 });
  assert.deepEqual(config.listeners[1], {
    name: "web",
    mode: "forward",
    address: { host: "0.0.0.0", port: 8443 },
    server: { host: "origin.example", port: 443 },
  });
  assert.deepEqual(config.feeds, [
    {
      name: "archive",
      kind: "pcapng",
      directory: join(folder, "conf/captures"),
      rotate: 2 ** 30,
      keep: 10,
      segment: "offload",
      ports: {},
      flows: ["decrypted", "notTls"],
    },
  ]);
  assert.deepEqual(config.timeouts, {
    connect: 10_000,
    hello: 250,
    handshake: 15_000,
    idle: 600_000,
    idleCounts: "keepalives",
    drain: 10_000,
  });
  assert.equal(config.signing.validity, 90 * 86_400_000);
  assert.deepEqual(policy.lists, { bypass: [packList(["*.bank.example", "10.0.0.0/8"])], decrypt: [] });
  assert.deepEqual(
    loaded.lists.map(({ path, entries }) => [path, entries]),
    [["policy.lists.bypass[0]", 2]],
  );
  assert.deepEqual(policy.rules, [
    { name: "lab", match: { port: [443], client: ["10.9.0.0/16"], listener: ["web"] }, action: "decrypt" },
    { name: "all", match: {}, action: "drop" },
  ]);
  assert.deepEqual(loaded.keys, [
    { path: "keys[0]", hosts: ["www.example.com"], certificatePem: "leaf", keyPem: "secret" },
  ]);
  assert.deepEqual(loaded.trustFiles, [{ path: "trust.files[0]", pem: "ca" }]);
  assert.deepEqual(loaded.signing, {
    secondary: { path: "signing.secondary", certificatePem: "ca", keyPem: "ca secret" },
  });
  assert.deepEqual(loaded.warnings, [
    'keys[0].key is "www.key", which users other than its owner can access (mode 640); chmod 600 makes it private',
  ]);
  assert.deepEqual(structuredClone(loaded), loaded, "plain data");
  assert.equal(compilePolicy(policy).onNetwork({ server: { address: "10.1.1.1", port: 1 } })?.rule, "all");
});

test("Feeds that hand out keys or plaintext cause warnings, a feed on loopback does not", async () => {
  const file = write(
    "loud.yaml",
    `${PROXY}feeds:
  - { name: a, kind: keylog, file: ./tls.log }
  - { name: b, kind: pcap-over-ip, address: "0.0.0.0:57012" }
  - { name: c, kind: pcap-over-ip, address: "[::1]:57012" }
  - { name: d, kind: pcap-over-ip, address: "127.0.0.2:57012", flows: [bypassed], rules: [bypass list], format: pcap }`,
  );
  const { warnings, config } = await loadConfig(file);
  assert.equal(warnings.length, 2);
  assert.match(warnings[0]!, /^feeds\[0\] WRITES THE TLS KEYS OF EVERY SESSION to .*tls\.log: /);
  assert.match(
    warnings[1]!,
    /^feeds\[1\]\.address is 0\.0\.0\.0:57012: ANYONE WHO CAN CONNECT TO IT READS THE PLAINTEXT/,
  );
  assert.deepEqual(config.feeds.map(feedPlace), [
    join(folder, "tls.log"),
    "0.0.0.0:57012",
    "[::1]:57012",
    "127.0.0.2:57012",
  ]);
});

test("Without a file the node gets an explicit proxy and two feeds, on loopback only", async () => {
  const { file, config, policy, keys, warnings } = await loadConfig(undefined);
  assert.equal(file, undefined);
  assert.deepEqual(config.listeners, [{ name: "proxy", mode: "explicit", address: { host: "127.0.0.1", port: 8080 } }]);
  assert.deepEqual(config.console.address, { host: "127.0.0.1", port: 8484 });
  assert.equal(
    config.dataDir,
    process.getuid?.() === 0 ? "/var/lib/clearline" : join(homedir(), ".local/state/clearline"),
  );
  assert.deepEqual(
    config.feeds.map((feed) => [feed.name, feed.kind, feedPlace(feed)]),
    [
      ["captures", "pcapng", join(config.dataDir, "captures")],
      ["http", "http", "in memory; see: clearline transactions"],
    ],
  );
  assert.equal(policy.default, "decrypt");
  assert.deepEqual(policy.versions, {
    min: "TLSv1.2",
    max: "TLSv1.3",
    belowMin: "bypass",
    aboveMax: "bypass",
    weakTls12: false,
    ssl3Suites: "all",
  });
  assert.deepEqual(policy.certificate, faultActions("drop"));
  assert.deepEqual(config.policy.revocation, {
    ocsp: "soft",
    crl: "off",
    timeout: 5000,
    keep: 3_600_000,
    loopback: false,
  });
  assert.deepEqual([keys, warnings], [[], []]);
});

test("Passphrases are first lines, binary secrets become base64, and onMissingKey goes to the policy", async () => {
  const place = join(folder, "secrets");
  mkdirSync(place);
  const files = {
    "store.key": Buffer.from([0, 255, 10]),
    "www.p12": Buffer.from([48, 128, 0]),
    "www.pass": "sécret \r\nmore",
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(place, name), content, { mode: 0o600 });
  writeFileSync(join(place, "old.pass"), "former", { mode: 0o644 });
  const file = join(place, "clearline.yaml");
  writeFileSync(
    file,
    `
listeners:
  - { name: proxy, mode: explicit, address: "127.0.0.1:8080" }
  - { name: web, mode: forward, address: "0.0.0.0:8443", server: "10.0.0.5:443", onMissingKey: drop }
  - { name: edge, mode: inline, topology: routed, networkA: a, networkB: b, onMissingKey: bypass }
keys: [{ pkcs12: www.p12, passphraseFile: www.pass }]
keyStore: { keyFile: store.key, former: { passphraseFile: old.pass }, warnBefore: 14d }
`,
  );
  const { config, policy, keys, keyStore, warnings } = await loadConfig(file);
  assert.deepEqual(keys, [{ path: "keys[0]", passphrase: "sécret ", pkcs12: "MIAA", hosts: [] }]);
  assert.deepEqual(keyStore, {
    current: { kind: "keyFile", text: "AP8K", path: "keyStore.keyFile" },
    former: { kind: "passphrase", text: "former", path: "keyStore.former.passphraseFile" },
  });
  assert.deepEqual(config.keyStore, {
    keyFile: join(place, "store.key"),
    former: { passphraseFile: join(place, "old.pass") },
    warnBefore: 14 * 86_400_000,
  });
  assert.deepEqual(policy.onMissingKey, { web: "drop", edge: "bypass" });
  assert.deepEqual(warnings, [
    'keyStore.former.passphraseFile is "old.pass", which users other than its owner can access (mode 644); chmod 600 makes it private',
  ]);
});

test("The JSON Schema describes every key", () => {
  const undescribed: string[] = [];
  const visit = (schema: Record<string, unknown>, path: string) => {
    for (const [key, value] of Object.entries(
      (schema["properties"] ?? {}) as Record<string, Record<string, unknown>>,
    )) {
      const isGroup = value["properties"] !== undefined;
      if (value["description"] === undefined && !isGroup) undescribed.push(`${path}${key}`);
      visit(value, `${path}${key}.`);
      const items = value["items"] as Record<string, unknown> | undefined;
      for (const item of [items, ...((items?.["oneOf"] ?? []) as Record<string, unknown>[])])
        if (item) visit(item, `${path}${key}[].`);
    }
  };
  visit(configSchemaJson() as Record<string, unknown>, "");
  assert.deepEqual(undescribed, []);
});

test("Allowing SSL 3.0, or weak TLS 1.2, causes a warning about its price", async () => {
  const warned = async (versions: string) =>
    (await loadConfig(write("old.yaml", `${PROXY}policy: { versions: { ${versions} } }`))).warnings;
  assert.deepEqual(await warned("min: TLSv1"), []);
  assert.match((await warned("weakTls12: true")).join(), /1,024 bits can be broken/);
  assert.match((await warned("min: SSLv3")).join(), /POODLE .*ssl3Suites: rc4/);
  assert.match((await warned("min: SSLv3, max: SSLv3, ssl3Suites: rc4")).join(), /RC4 leaks/);
});

test("A certificate rule that adds a tool without HTTP/2 causes a warning when another rule may have allowed HTTP/2", async () => {
  const load = async (...rules: string[]) => {
    const tools = `tools:
  - { name: ips, kind: inline, interfaceA: a0, interfaceB: b0 }
  - { name: old, kind: inline, interfaceA: a1, interfaceB: b1, alpn: http/1.1 }
`;
    const list = rules.map((text, index) => `{ name: r${index}, ${text} }`).join(", ");
    return (await loadConfig(write("late.yaml", `${PROXY}${tools}policy: { rules: [${list}] }`))).warnings;
  };
  const late = 'match: { issuer: ["Example CA"] }, action: decrypt, tools: [ips, old]';
  assert.deepEqual(await load("match: { host: [a.example] }, action: decrypt, tools: [ips]", late), [
    "policy.rules[1].tools[1] is \"old\", which takes no HTTP/2 (alpn), but may be added too late: the rule's issuer is known only with the server's certificate, and policy.rules[0] may have allowed HTTP/2 before. Give that rule alpn: http/1.1",
  ]);
  assert.equal(
    (await load(late.replace('issuer: ["Example CA"]', "fault: [expired]"), "action: decrypt, tools: []")).length,
    1,
  );
  for (const early of [
    "match: { host: [a.example] }, action: decrypt",
    "match: { host: [a.example] }, action: decrypt, tools: [ips], alpn: http/1.1",
    "match: { host: [a.example] }, action: decrypt, tools: [old]",
    "match: { host: [a.example] }, action: bypass, tools: [ips]",
  ]) {
    assert.deepEqual(await load(early, late), []);
  }
});
