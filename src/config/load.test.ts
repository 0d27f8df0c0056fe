import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { ConfigError } from "../errors.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import { parseYaml } from "./document.ts";
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

/** The errors of a file with this text: one message each, without the words they all begin with. */
async function errorsOf(yaml: string): Promise<string[]> {
  const file = write("clearline.yaml", yaml);
  return loadConfig(file).then(
    () => [],
    (error: unknown) => {
      assert.ok(error instanceof AggregateError, String(error));
      return error.errors.map((one: unknown) => {
        assert.ok(one instanceof ConfigError);
        return one.message.replaceAll(`${folder}/`, "").replace(/^Cannot read clearline\.yaml: ?/, "");
      });
    },
  );
}

write("short.secret", "guess\n");

const PROXY = 'listeners: [{ name: proxy, mode: explicit, address: "127.0.0.1:8080" }]\n';
const rule = (text: string) => `${PROXY}policy: { rules: [${text}] }`;

const WRONG: [title: string, yaml: string, errors: string[]][] = [
  ["an unknown key", `${PROXY}wrokers: 2`, ["wrokers is not known; did you mean workers?"]],
  ["a key of no version", `${PROXY}teapot: []`, ["teapot is not known"]],
  [
    "a rule with a tool that does not exist",
    `${rule("{ name: a, action: decrypt, tools: [ips] }")}`,
    ['policy.rules[0].tools[0] is "ips", but no tool has this name'],
  ],
  [
    "an unknown key deep inside",
    rule("{ name: a, match: { hots: [a.example] }, action: drop }"),
    ["policy.rules[0].match.hots is not known; did you mean host?"],
  ],
  [
    "a store that is none, without telling its password",
    `${PROXY}resumption: { shared: "http://node:hidden@10.0.0.7" }`,
    [
      "resumption.shared is not the address of a store such as redis://10.0.0.7:6379",
      "resumption.shared is set, but signing.primary is not: nodes that share a store need the same CA",
    ],
  ],
  [
    "nodes that share a store and no CA",
    `${PROXY}resumption: { shared: "redis://10.0.0.7" }`,
    ["resumption.shared is set, but signing.primary is not: nodes that share a store need the same CA"],
  ],
  [
    "a secret that can be guessed",
    `${PROXY}resumption: { secret: short.secret }`,
    ["resumption.secret names a file of 5 bytes; it needs 32 or more"],
  ],
  ["a wrong type", `${PROXY}trust: { system: 5 }`, ["trust.system is 5, not true or false"]],
  ["a list where a group belongs", `${PROXY}policy: []`, ["policy is a list, not a group of keys"]],
  ["a group where a list belongs", `${PROXY}keys: { a: 1 }`, ["keys is a group of keys, not a list"]],
  [
    "a port out of range",
    rule("{ name: a, match: { port: 70000 }, action: drop }"),
    ["policy.rules[0].match.port is 70000, above 65535"],
  ],
  [
    "a port out of range in a list",
    rule("{ name: a, match: { port: [443, 0] }, action: drop }"),
    ["policy.rules[0].match.port[1] is 0, below 1"],
  ],
  [
    "a condition with no value",
    rule("{ name: a, match: { port: [] }, action: drop }"),
    ["policy.rules[0].match.port is an empty list, which matches nothing"],
  ],
  [
    "a condition with a group",
    rule("{ name: a, match: { host: [{ a: 1 }] }, action: drop }"),
    ["policy.rules[0].match.host[0] is a group of keys, neither a text nor a number"],
  ],
  [
    "an action that does not exist",
    rule("{ name: a, action: reset }"),
    ['policy.rules[0].action is "reset", not one of decrypt, bypass, drop'],
  ],
  ["a rule without an action", rule("{ name: a }"), ["policy.rules[0].action is missing"]],
  [
    "two rules of one name",
    rule("{ name: a, action: drop }, { name: a, action: drop }"),
    ['policy.rules[1].name is "a", the name of policy.rules[0] already'],
  ],
  [
    "a rule named like a part of the policy",
    rule("{ name: versions, action: drop }"),
    ['policy.rules[0].name is "versions", which names a part of every policy'],
  ],
  [
    "a rule for a listener that does not exist",
    rule("{ name: a, match: { listener: [proxy, web] }, action: drop }"),
    ['policy.rules[0].match.listener[1] is "web", but no listener has this name'],
  ],
  [
    "a rule for what nobody is asked about",
    `${PROXY}policy: { revocation: { ocsp: off }, rules: [{ name: a, match: { fault: [expired, revoked] }, action: drop }] }`,
    [
      'policy.rules[0].match.fault[1] is "revoked", but ocsp and crl of policy.revocation are off: it would never match',
    ],
  ],
  [
    "a 21st port for STARTTLS",
    `${PROXY}policy: { startTls: { enabled: true, ports: [${Array.from({ length: 21 }, (_, index) => index + 1)}] } }`,
    ["policy.startTls.ports[20] is 21, one more than the 20 ports that can be watched"],
  ],
  [
    "a port for STARTTLS that is none",
    `${PROXY}policy: { startTls: { ports: [25, 70000] } }`,
    ["policy.startTls.ports[1] is 70000, above 65535"],
  ],
  ["no listeners", "listeners: []", ["listeners is empty"]],
  [
    "a tool that is one of the node's own listeners, or its own way back",
    `${PROXY}tools:
  - { name: a, kind: proxy, address: "localhost:8080", returnAddress: "127.0.0.1:3129" }
  - { name: b, kind: proxy, address: "127.0.0.1:3130", returnAddress: "0.0.0.0:3130" }`,
    [
      "tools[0].address is localhost:8080, where listeners[0] listens: the node would connect to itself",
      "tools[1].address is 127.0.0.1:3130, where tools[1] listens: the node would connect to itself",
    ],
  ],
  [
    "a tool that connects back from a name",
    `${PROXY}tools: [{ name: a, kind: proxy, address: "127.0.0.1:3128", returnAddress: "127.0.0.1:3129", from: [dlp] }]`,
    ['tools[0].from[0] is "dlp", not an address such as 10.0.9.5'],
  ],
  [
    "a rule that would keep HTTP/2 out when it has been agreed on",
    rule('{ name: a, match: { issuer: ["Example CA"] }, action: decrypt, alpn: http/1.1 }'),
    [
      "policy.rules[0].alpn comes too late: the rule's issuer is known with the certificate, and HTTP/2 is agreed on before",
    ],
  ],
  ["an empty file", "", ["listeners is missing"]],
  ["a file that is no group of keys", "- a\n- b", ["it is a list, not a group of keys"]],
  [
    "inline tools that share an interface",
    `listeners: [{ name: a, mode: inline, topology: routed, networkA: eth1, networkB: eth2 }]
tools:
  - { name: ips, kind: inline, interfaceA: tool-a, interfaceB: tool-a }
  - { name: dlp, kind: inline, interfaceA: eth2, interfaceB: tool-b }`,
    [
      'tools[0].interfaceB is "tool-a", which is tools[0].interfaceA already',
      'tools[1].interfaceA is "eth2", which is listeners[0].networkB already',
    ],
  ],
  [
    "a bump in the wire with a gateway, and a router without one",
    `${PROXY}tools:
  - { name: ips, kind: inline, interfaceA: a, interfaceB: b, gatewayA: 10.0.0.1 }
  - { name: dlp, kind: inline, interfaceA: c, interfaceB: d, layer: 3, addressA: 10.0.0.2/24, addressB: 10.0.1.2/24, gatewayA: 10.0.0.1 }`,
    [
      "tools[0].gatewayA is for layer 3: a bump in the wire has no address",
      "tools[1].gatewayB is missing: a tool that is a router is found by its addresses",
    ],
  ],
  [
    "an inline tool's values",
    `${PROXY}tools: [{ name: ips, kind: inline, interfaceA: "a b", interfaceB: b, layer: 4, addressA: 10.0.0.1 }]`,
    [
      'tools[0].interfaceA is "a b", not the name of a network interface: up to 15 letters, digits, dots, dashes and underscores',
      "tools[0].layer is 4, neither 2 nor 3",
      'tools[0].addressA is "10.0.0.1", not an address with the length of its subnet, such as 10.3.0.254/24',
    ],
  ],
  [
    "a listener of an unknown mode",
    "listeners: [{ name: a, mode: teleport }]",
    ['listeners[0].mode is "teleport", not one of explicit, forward, inline'],
  ],
  [
    "a wire with one end, and a bridge without an address",
    "listeners: [{ name: a, mode: inline, topology: bridge, networkA: eth1, networkB: eth1 }]",
    [
      'listeners[0].networkB is "eth1", which is listeners[0].networkA already',
      "listeners[0].address is missing: a bridge needs an address on its network",
    ],
  ],
  [
    "routers that a bridge cannot reach",
    `listeners: [{ name: a, mode: inline, topology: bridge, networkA: eth1, networkB: eth2, address: 10.3.0.254/24,
      gateway: [10.3.0.1, "fd03::1", 10.3.0.2], routes: [{ to: 10.9.0.0/16, via: 10.4.0.7 }, { to: "fd09::/64", via: 10.3.0.7 }] }]`,
    [
      'listeners[0].gateway[1] is "fd03::1", which is in no subnet of listeners[0].address',
      'listeners[0].routes[0].via is "10.4.0.7", which is in no subnet of listeners[0].address',
      'listeners[0].gateway[2] is "10.3.0.2", the second gateway of its family',
      'listeners[0].routes[1].via is "10.3.0.7", of another family than listeners[0].routes[1].to',
    ],
  ],
  [
    "inline listeners that stop in different ways",
    `listeners: [{ name: a, mode: inline, topology: routed, networkA: eth1, networkB: eth2 },
      { name: b, mode: inline, topology: routed, networkA: eth3, networkB: eth4, stop: keep }]`,
    ['listeners[1].stop is "keep", but listeners[0].stop is "remove": all inline listeners stop alike'],
  ],
  [
    "a router with a bridge's routes",
    `listeners: [{ name: a, mode: inline, topology: routed, networkA: eth1, networkB: eth2, gateway: 10.3.0.1, routes: [] }]`,
    [
      "listeners[0].gateway is for a bridge: a router follows this machine's own routes",
      "listeners[0].routes is for a bridge: a router follows this machine's own routes",
    ],
  ],
  [
    "an inline listener's values",
    'listeners: [{ name: a, mode: inline, topology: ring, networkA: "a b", networkB: eth1, address: 10.0.0.1, ports: [0], failure: up }]',
    [
      'listeners[0].topology is "ring", not one of routed, bridge',
      'listeners[0].networkA is "a b", not the name of a network interface: up to 15 letters, digits, dots, dashes and underscores',
      'listeners[0].address is "10.0.0.1", not an address with the length of its subnet, such as 10.3.0.254/24',
      "listeners[0].ports[0] is 0, below 1",
      'listeners[0].failure is "up", not one of open, closed',
    ],
  ],
  [
    "a forward listener without a server",
    'listeners: [{ name: a, mode: forward, address: "127.0.0.1:1" }]',
    ["listeners[0].server is missing"],
  ],
  [
    "an address without a port",
    "listeners: [{ name: a, mode: explicit, address: localhost }]",
    ['listeners[0].address is "localhost", not a host and a port such as 127.0.0.1:8080 or [::1]:8080'],
  ],
  [
    "an address with a port out of range",
    'listeners: [{ name: a, mode: explicit, address: "127.0.0.1:99999" }]',
    ['listeners[0].address is "127.0.0.1:99999": the port 99999 is not between 1 and 65535'],
  ],
  [
    "an address that is none",
    'listeners: [{ name: a, mode: explicit, address: "10.0.0.256:1" }]',
    ['listeners[0].address is "10.0.0.256:1", not a host and a port such as 127.0.0.1:8080 or [::1]:8080'],
  ],
  [
    "a listener's name that cannot name a file",
    'listeners: [{ name: "a/b", mode: explicit, address: "127.0.0.1:1" }]',
    ['listeners[0].name is "a/b", not a name of up to 64 letters, digits, dots, dashes and underscores'],
  ],
  [
    "two listeners of one name and address",
    'listeners: [{ name: a, mode: explicit, address: "127.0.0.1:1" }, { name: a, mode: explicit, address: "localhost:1" }]',
    [
      'listeners[1].name is "a", the name of listeners[0] already',
      "listeners[1].address is localhost:1, where listeners[0] listens already",
    ],
  ],
  [
    "a listener in the console's place",
    'listeners: [{ name: a, mode: explicit, address: "127.0.0.1:8484" }]',
    ["listeners[0].address is 127.0.0.1:8484, where the console listens already"],
  ],
  [
    "a listener that forwards to itself",
    'listeners: [{ name: a, mode: forward, address: "0.0.0.0:1", server: "localhost:1" }]',
    ["listeners[0].server is localhost:1, the listener's own address: it would connect to itself"],
  ],
  [
    "version limits out of order",
    `${PROXY}policy: { versions: { min: TLSv1.3, max: TLSv1.2 } }`,
    ["policy.versions.min is TLSv1.3, above policy.versions.max, which is TLSv1.2"],
  ],
  [
    "a minimum above the default maximum's rival",
    `${PROXY}policy: { versions: { max: TLSv1.1 } }`,
    ["policy.versions.min is TLSv1.2, above policy.versions.max, which is TLSv1.1"],
  ],
  [
    "a version that is not spoken",
    `${PROXY}policy: { versions: { min: SSLv2 } }`,
    ['policy.versions.min is "SSLv2", not one of SSLv3, TLSv1, TLSv1.1, TLSv1.2, TLSv1.3'],
  ],
  [
    "a duration that is none",
    `${PROXY}timeouts: { hello: 5 parsecs }`,
    ['timeouts.hello is "5 parsecs", not a duration such as 250ms, 5s, 10m, 1h or 30d'],
  ],
  [
    "a duration without a unit",
    `${PROXY}timeouts: { hello: 5 }`,
    ["timeouts.hello is 5, not a duration such as 250ms, 5s, 10m, 1h or 30d"],
  ],
  ["a duration out of range", `${PROXY}timeouts: { idle: 25d }`, ["timeouts.idle is 25d, above 24d"]],
  [
    "a size out of range",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, rotate: 1kB }]`,
    ["feeds[0].rotate is 1kB, below 4KiB"],
  ],
  [
    "half a file",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, keep: 1.5 }]`,
    ["feeds[0].keep is 1.5, not a whole number"],
  ],
  ["too many workers", `${PROXY}workers: 65`, ["workers is 65, above 64"]],
  ["workers in words", `${PROXY}workers: many`, ['workers is "many", neither "auto" nor a number between 1 and 64']],
  [
    "two feeds of one name",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d }, { name: a, kind: pcapng, directory: e }]`,
    ['feeds[1].name is "a", the name of feeds[0] already'],
  ],
  [
    "a feed for a rule that is not there",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, rules: [default, bankign] }]
policy: { rules: [{ name: banking, action: decrypt }] }`,
    ['feeds[0].rules[1] is "bankign", but no rule has this name'],
  ],
  [
    "a feed at an address where somebody listens",
    `${PROXY}feeds: [{ name: a, kind: pcap-over-ip, address: "127.0.0.1:8080" }]`,
    ["feeds[0].address is 127.0.0.1:8080, where listeners[0] listens already"],
  ],
  [
    "a feed into the path of the traffic",
    `listeners: [{ name: edge, mode: inline, topology: routed, networkA: eth1, networkB: eth2 }]
feeds: [{ name: a, kind: interface, interface: eth2 }]`,
    ['feeds[0].interface is "eth2", which is listeners[0].networkB: plaintext would leave there'],
  ],
  [
    "a mark where it has no place",
    `${PROXY}feeds: [{ name: a, kind: pcap-over-ip, address: "[::1]:57012", format: pcap, mark: { comment: x } }]`,
    ["feeds[0].mark has no place in the format pcap, only in pcapng"],
  ],
  [
    "a mark that another kind of feed has",
    `${PROXY}feeds: [{ name: a, kind: interface, interface: mon0, mark: { comment: x } }]`,
    ["feeds[0].mark.vlan is missing", "feeds[0].mark.comment is not known"],
  ],
  [
    "no class of flows, and one that there is not",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, flows: [] }, { name: b, kind: pcapng, directory: d, flows: [all] }]`,
    ["feeds[0].flows is empty", 'feeds[1].flows[0] is "all", not one of decrypted, bypassed, notTls'],
  ],
  [
    "a MAC address that is none",
    `${PROXY}feeds: [{ name: a, kind: interface, interface: mon0, clientMac: "02:00" }]`,
    ['feeds[0].clientMac is "02:00", not a MAC address such as 02:00:00:00:00:0a'],
  ],
  [
    "a list that does not exist",
    `${PROXY}policy: { lists: { bypass: [nowhere.txt] } }`,
    ['policy.lists.bypass[0] is "nowhere.txt", but nowhere.txt does not exist'],
  ],
  ["a folder where a file belongs", `${PROXY}trust: { files: [/] }`, ['trust.files[0] is "/", but / is not a file']],
  [
    "a device where a file belongs",
    `${PROXY}trust: { files: [/dev/zero] }`,
    ['trust.files[0] is "/dev/zero", but /dev/zero is not a file'],
  ],
  [
    "an inbound key whose files do not exist",
    `${PROXY}keys: [{ hosts: [www.example.com, "*.example.com", 10.0.0.5], certificate: a.pem, key: a.key }]`,
    ['keys[0].certificate is "a.pem", but a.pem does not exist', 'keys[0].key is "a.key", but a.key does not exist'],
  ],
  [
    "a signing CA whose files do not exist",
    `${PROXY}signing: { primary: { certificate: a.pem, key: a.key } }`,
    [
      'signing.primary.certificate is "a.pem", but a.pem does not exist',
      'signing.primary.key is "a.key", but a.key does not exist',
    ],
  ],
  [
    "a host that is none",
    `${PROXY}keys: [{ hosts: ["10.0.0.0/8"], certificate: /etc/hostname, key: /etc/hostname }]`,
    ['keys[0].hosts[0] is "10.0.0.0/8", not a host name, "*." and a host name, or an address'],
  ],
  [
    "an inbound key in two forms, and one in none",
    `${PROXY}keys: [{ pkcs12: /etc/hostname, key: /etc/hostname }, { hosts: [a.example], certificate: /etc/hostname }]`,
    ["keys[0].key stands beside pkcs12, which has both", "keys[1].key is missing"],
  ],
  [
    "a key store under two secrets, and one that does not exist",
    `${PROXY}keyStore: { passphraseFile: a.pass, keyFile: /etc/hostname, former: { keyFile: a.key } }`,
    [
      "keyStore.keyFile stands beside passphraseFile: one of them is enough",
      'keyStore.passphraseFile is "a.pass", but a.pass does not exist',
      'keyStore.former.keyFile is "a.key", but a.key does not exist',
    ],
  ],
  [
    "a missing key that is to be decrypted",
    `listeners: [{ name: a, mode: explicit, address: "127.0.0.1:8080", onMissingKey: decrypt }]`,
    ['listeners[0].onMissingKey is "decrypt", not one of bypass, drop'],
  ],
  ["a key that stands twice", `${PROXY}workers: 1\nworkers: 2`, ["3:1: the key workers stands twice"]],
];
for (const [title, yaml, expected] of WRONG) {
  test(`The configuration is refused for ${title}`, async () => {
    assert.deepEqual(await errorsOf(yaml), expected);
  });
}

test("A mistake of YAML is told with its line and column", async () => {
  const [first = ""] = await errorsOf(`${PROXY}policy: { rules: [ }`);
  assert.match(first, /^2:\d+: [A-Z].*/);
  assert.doesNotMatch(first, /\n|at line/);
});

test("Every error is told at once, whatever it is about", async () => {
  const yaml = `
dataDir: 5
workers: 1
workers: 99
listeners:
  - { name: a, mode: explicit, address: "127.0.0.1:1" }
  - { name: a, mode: explicit, address: "127.0.0.1:1" }
policy:
  lists: { bypass: [hosts.txt], decrypt: [nowhere.txt] }
  rules: [{ name: b, match: { port: 0 }, action: drp }]
timeouts: { connect: soon }
colour: red
`;
  write("hosts.txt", "example.com\nfoo bar\n");
  const paths = (await errorsOf(yaml)).map((message) => message.split(" ")[0]);
  assert.deepEqual(paths, [
    "4:1:",
    "dataDir",
    "workers",
    "policy.rules[0].match.port",
    "policy.rules[0].action",
    "timeouts.connect",
    "colour",
    "listeners[1].name",
    "listeners[1].address",
    "policy.lists.bypass[0]",
    "policy.lists.decrypt[0]",
  ]);
});

test("A bad line of a list is told with its file and line", async () => {
  write("hosts.txt", "# banks\nexample.com\nfoo bar\n");
  assert.deepEqual(await errorsOf(`${PROXY}policy: { lists: { bypass: [hosts.txt] } }`), [
    'policy.lists.bypass[0] names hosts.txt:3: "foo bar" is neither an address, a subnet, a range nor a host name',
  ]);
});

test("A list of nothing but bad lines is told in a few", async () => {
  write("hosts.txt", "foo bar\n".repeat(1000));
  const errors = await errorsOf(`${PROXY}policy: { lists: { bypass: [hosts.txt] } }`);
  assert.equal(errors.length, 21);
  assert.equal(errors.at(-1), "policy.lists.bypass[0] names hosts.txt, where 980 more lines are wrong");
});

test("A file that does not exist is told by its name", async () => {
  await assert.rejects(loadConfig("missing.yaml"), ({ errors }: AggregateError) => {
    assert.deepEqual(errors.map(String), ["ConfigError: Cannot read missing.yaml: it does not exist"]);
    return true;
  });
});

test("A key that this user may not read is told as such", async (context) => {
  write("www.pem", "certificate");
  chmodSync(join(folder, write("locked.key", "key")), 0o000);
  write("clearline.yaml", "");
  for (const name of ["", "clearline.yaml", "www.pem"]) chmodSync(join(folder, name), 0o777);
  // Root may read everything, so while the file is loaded root is nobody.
  if (process.getuid?.() === 0) {
    process.seteuid?.(65534);
    context.after(() => process.seteuid?.(0));
  }
  assert.deepEqual(
    await errorsOf(`${PROXY}keys: [{ hosts: [www.example.com], certificate: www.pem, key: locked.key }]`),
    ['keys[0].key is "locked.key", but locked.key cannot be read: this user has no permission'],
  );
});

test("What the PKI is given is checked by the caller's check, whose errors join the others", async () => {
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
      errors.map(({ path }: ConfigError) => path),
      ["colour", "keys[0]"],
    );
    return true;
  });
});

test("A whole configuration is read, with everything it names, relative to its own folder", async () => {
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
      flows: ["decrypted", "notTls"],
    },
  ]);
  assert.deepEqual(config.timeouts, { connect: 10_000, hello: 250, handshake: 15_000, idle: 600_000, drain: 10_000 });
  assert.equal(config.signing.validity, 90 * 86_400_000);
  assert.deepEqual(policy.lists, { bypass: ["*.bank.example", "10.0.0.0/8"], decrypt: [] });
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
    'keys[0].key is "www.key", which others than its owner can use (mode 640); 600 keeps it private',
  ]);
  assert.deepEqual(JSON.parse(JSON.stringify(loaded)), loaded, "plain data that crosses process borders");
  assert.equal(compilePolicy(policy).onNetwork({ server: { address: "10.1.1.1", port: 1 } })?.rule, "all");
});

test("What hands out keys or plaintext is warned of, and a feed on loopback is not", async () => {
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
  assert.match(warnings[1]!, /^feeds\[1\]\.address is 0\.0\.0\.0:57012: ANYONE WHO REACHES IT READS THE PLAINTEXT/);
  assert.deepEqual(config.feeds.map(feedPlace), [
    join(folder, "tls.log"),
    "0.0.0.0:57012",
    "[::1]:57012",
    "127.0.0.2:57012",
  ]);
});

test("Without a file there is an explicit proxy and a feed, on loopback only", async () => {
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
    [["captures", "pcapng", join(config.dataDir, "captures")]],
  );
  assert.equal(policy.default, "decrypt");
  assert.deepEqual(policy.versions, {
    min: "TLSv1.2",
    max: "TLSv1.3",
    belowMin: "bypass",
    aboveMax: "bypass",
    ssl3Suites: "all",
  });
  assert.deepEqual(policy.certificate, {
    expired: "drop",
    selfSigned: "drop",
    unknownIssuer: "drop",
    hostMismatch: "drop",
    invalid: "drop",
    revoked: "drop",
    revocationUnknown: "drop",
  });
  assert.deepEqual(config.policy.revocation, {
    ocsp: "soft",
    crl: "off",
    timeout: 5000,
    keep: 3_600_000,
    loopback: false,
  });
  assert.deepEqual([keys, warnings], [[], []]);
});

test("Secrets are read as openssl reads them, and what is not text as base64; a listener says what it does without a key", async () => {
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
    'keyStore.former.passphraseFile is "old.pass", which others than its owner can use (mode 644); 600 keeps it private',
  ]);
});

test("Any text is a configuration or ConfigErrors", async () => {
  const key = fc.constantFrom(
    "listeners",
    "policy",
    "rules",
    "match",
    "port",
    "name",
    "mode",
    "address",
    "keys",
    "lists",
    "versions",
    "__proto__",
    "x",
  );
  const leaf = fc.oneof(
    fc.string(),
    fc.integer(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.constantFrom("explicit", "127.0.0.1:1", "5s", "/dev/null"),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { depthSize: "small" },
      leaf,
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(key, tie("tree"), { maxKeys: 5 }),
    ),
  }));
  const text = fc.oneof(
    fc.string(),
    tree.map((value) => stringify(value)),
    fc.stringMatching(/^[[\]{}:,&*a\- \n"'|>!#]{0,40}$/),
  );
  await fc.assert(
    fc.asyncProperty(text, async (yaml) => {
      await errorsOf(yaml);
    }),
    { numRuns: 200 },
  );
});

test("YAML that is nested too deeply or unfolds for ever is refused", () => {
  const bomb = [
    "a: &a [x, x, x, x, x, x, x, x, x]",
    ..."bcdefghi".split("").map((name, index) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[index]}`)}]`),
  ].join("\n");
  for (const yaml of [bomb, "[".repeat(3000)]) {
    const { root, errors } = parseYaml("clearline.yaml", yaml);
    assert.equal(root, undefined);
    assert.equal(errors.length, 1);
    assert.match(
      String(errors[0]),
      /^ConfigError: Cannot read clearline\.yaml: it (is nested too deeply|repeats its aliases too often)$/,
    );
  }
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

test("Whoever allows SSL 3.0 is told what it costs, with block ciphers and without", async () => {
  const warned = async (versions: string) =>
    (await loadConfig(write("old.yaml", `${PROXY}policy: { versions: { ${versions} } }`))).warnings;
  assert.deepEqual(await warned("min: TLSv1"), []);
  assert.match((await warned("min: SSLv3")).join(), /POODLE .*ssl3Suites: rc4/);
  assert.match((await warned("min: SSLv3, max: SSLv3, ssl3Suites: rc4")).join(), /RC4 leaks/);
});

test("A rule on the certificate that adds a tool without HTTP/2 is warned of when another rule may have let HTTP/2 in", async () => {
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
    'policy.rules[1].tools[1] is "old", whose alpn keeps HTTP/2 out, and may come too late for that: the rule\'s issuer is known with the certificate, HTTP/2 is agreed on before, and policy.rules[0] does not keep it out. Give that rule alpn: http/1.1',
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
