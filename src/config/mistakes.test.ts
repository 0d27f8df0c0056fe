import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { stringify } from "yaml";
import { ConfigError } from "../errors.ts";
import { loadConfig } from "./load.ts";

/** The mistakes that a configuration file may have, and what the user reads about them. */

const folder = mkdtempSync(join(tmpdir(), "clearline-config-"));
after(() => rmSync(folder, { recursive: true }));
process.chdir(folder);
mkdirSync("real");
symlinkSync("real", "linked");
symlinkSync("nowhere", "astray");

function write(name: string, content: string): string {
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content);
  return name;
}

/** The messages of a file with this text, without their place in it. */
async function errorsOf(yaml: string): Promise<string[]> {
  const file = write("clearline.yaml", yaml);
  return loadConfig(file).then(
    () => [],
    (error: unknown) => {
      assert.ok(error instanceof AggregateError, String(error));
      return error.errors.map((one: unknown) => {
        assert.ok(one instanceof ConfigError);
        return one.message.replaceAll(`${folder}/`, "").replace(/^clearline\.yaml:\d+:\d+: /, "");
      });
    },
  );
}

write("short.secret", "guess\n");

const PROXY = 'listeners: [{ name: proxy, mode: explicit, address: "127.0.0.1:8080" }]\n';
const rule = (text: string) => `${PROXY}policy: { rules: [${text}] }`;

const CLASH = ": each would delete the other's; choose another folder or name";

const WRONG: [title: string, yaml: string, errors: string[]][] = [
  ["an unknown key", `${PROXY}wrokers: 2`, ["wrokers is not known; did you mean workers?"]],
  ["a key without a similar known one", `${PROXY}teapot: []`, ["teapot is not known"]],
  [
    "a rule with a tool that does not exist",
    `${rule("{ name: a, action: decrypt, tools: [ips] }")}`,
    ['policy.rules[0].tools[0] is "ips", but no tool has this name'],
  ],
  [
    "a PROXY protocol that is neither on nor off",
    'listeners: [{ name: proxy, mode: explicit, address: "127.0.0.1:8080", proxyProtocol: perhaps }]',
    ['listeners[0].proxyProtocol is "perhaps", neither true, false nor { from: [addresses] }'],
  ],
  [
    "a PROXY protocol from what is no address, and with an unknown key",
    'listeners: [{ name: proxy, mode: explicit, address: "127.0.0.1:8080", proxyProtocol: { from: [10.0.0.0/33], frm: 1 } }]',
    [
      'listeners[0].proxyProtocol.from[0] is "10.0.0.0/33", neither an address, a subnet nor a range of addresses',
      "listeners[0].proxyProtocol.frm is not known; did you mean from?",
    ],
  ],
  [
    "an unknown key deep inside",
    rule("{ name: a, match: { hots: [a.example] }, action: drop }"),
    ["policy.rules[0].match.hots is not known; did you mean host?"],
  ],
  [
    "the address of a store that is not one, without repeating its password",
    `${PROXY}resumption: { shared: "http://node:hidden@10.0.0.7" }`,
    ["resumption.shared is not the address of a store such as redis://10.0.0.7:6379"],
  ],
  [
    "nodes that share a store but not a CA",
    `${PROXY}resumption: { shared: "redis://10.0.0.7" }`,
    [
      "resumption.shared is set, but neither resumption.secret nor signing.primary is: nodes that share a store need a secret, or the same CA",
    ],
  ],
  [
    "a secret that is too short",
    `${PROXY}resumption: { secret: short.secret }`,
    ["resumption.secret names a file of 5 bytes; at least 32 are needed"],
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
    ['policy.rules[1].name is "a", already the name of policy.rules[0]'],
  ],
  [
    "a rule with a name that Clearline uses itself",
    rule("{ name: versions, action: drop }"),
    ['policy.rules[0].name is "versions", a name that Clearline uses itself; choose another'],
  ],
  [
    "a rule for a listener that does not exist",
    rule("{ name: a, match: { listener: [proxy, web] }, action: drop }"),
    ['policy.rules[0].match.listener[1] is "web", but no listener has this name'],
  ],
  [
    "a rule for revoked certificates when revocation is not checked",
    `${PROXY}policy: { revocation: { ocsp: off }, rules: [{ name: a, match: { fault: [expired, revoked] }, action: drop }] }`,
    [
      'policy.rules[0].match.fault[1] is "revoked", but policy.revocation has both ocsp and crl off: it would never match',
    ],
  ],
  [
    "a 21st port for STARTTLS",
    `${PROXY}policy: { startTls: { enabled: true, ports: [${Array.from({ length: 21 }, (_, index) => index + 1)}] } }`,
    ["policy.startTls.ports[20] is one too many: at most 20 ports can be watched"],
  ],
  [
    "a port for STARTTLS that is out of range",
    `${PROXY}policy: { startTls: { ports: [25, 70000] } }`,
    ["policy.startTls.ports[1] is 70000, above 65535"],
  ],
  ["no listeners", "listeners: []", ["listeners is empty"]],
  [
    "a tool at an address where the node itself listens",
    `${PROXY}tools:
  - { name: a, kind: proxy, address: "localhost:8080", returnAddress: "127.0.0.1:3129" }
  - { name: b, kind: proxy, address: "127.0.0.1:3130", returnAddress: "0.0.0.0:3130" }`,
    [
      "tools[0].address is localhost:8080, where listeners[0] listens: the node would connect to itself",
      "tools[1].address is 127.0.0.1:3130, where tools[1] listens: the node would connect to itself",
    ],
  ],
  [
    "a tool that connects back from a host name",
    `${PROXY}tools: [{ name: a, kind: proxy, address: "127.0.0.1:3128", returnAddress: "127.0.0.1:3129", from: [dlp] }]`,
    ['tools[0].from[0] is "dlp", not an address such as 10.0.9.5'],
  ],
  [
    "a rule that excludes HTTP/2 after it was negotiated",
    rule('{ name: a, match: { issuer: ["Example CA"] }, action: decrypt, alpn: http/1.1 }'),
    [
      "policy.rules[0].alpn has no effect: issuer is known only with the server's certificate, after HTTP/2 was negotiated; remove it",
    ],
  ],
  ["an empty file", "", ["listeners is missing"]],
  ["a file that is a list", "- a\n- b", ["the file is a list, not a group of keys"]],
  [
    "inline tools that share an interface",
    `listeners: [{ name: a, mode: inline, topology: routed, networkA: eth1, networkB: eth2 }]
tools:
  - { name: ips, kind: inline, interfaceA: tool-a, interfaceB: tool-a }
  - { name: dlp, kind: inline, interfaceA: eth2, interfaceB: tool-b }`,
    [
      'tools[0].interfaceB is "tool-a", already used as tools[0].interfaceA',
      'tools[1].interfaceA is "eth2", already used as listeners[0].networkB',
    ],
  ],
  [
    "an inline tool at layer 2 with a gateway, and one at layer 3 without",
    `${PROXY}tools:
  - { name: ips, kind: inline, interfaceA: a, interfaceB: b, gatewayA: 10.0.0.1 }
  - { name: dlp, kind: inline, interfaceA: c, interfaceB: d, layer: 3, addressA: 10.0.0.2/24, addressB: 10.0.1.2/24, gatewayA: 10.0.0.1 }`,
    [
      "tools[0].gatewayA is for layer 3 only: at layer 2 the tool has no address",
      "tools[1].gatewayB is missing: layer 3 needs the node's and the tool's addresses on both sides",
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
    "a bridge with one interface twice and without an address",
    "listeners: [{ name: a, mode: inline, topology: bridge, networkA: eth1, networkB: eth1 }]",
    [
      "listeners[0].address is missing: a bridge needs an address on its network",
      'listeners[0].networkB is "eth1", already used as listeners[0].networkA',
    ],
  ],
  [
    "routers outside of a bridge's subnet",
    `listeners: [{ name: a, mode: inline, topology: bridge, networkA: eth1, networkB: eth2, address: 10.3.0.254/24,
      gateway: [10.3.0.1, "fd03::1", 10.3.0.2], routes: [{ to: 10.9.0.0/16, via: 10.4.0.7 }, { to: "fd09::/64", via: 10.3.0.7 }] }]`,
    [
      'listeners[0].gateway[1] is "fd03::1", which is in no subnet of the bridge',
      'listeners[0].gateway[2] is "10.3.0.2", the second IPv4 gateway; a bridge has at most one',
      'listeners[0].routes[0].via is "10.4.0.7", which is in no subnet of the bridge',
      'listeners[0].routes[1].via is "10.3.0.7", an IPv4 address, but the route is for IPv6',
    ],
  ],
  [
    "VLANs that are no VLANs, or there twice",
    `listeners: [{ name: a, mode: inline, topology: bridge, networkA: eth1, networkB: eth2,
      vlans: [{ id: 4095, address: 10.3.0.254/24 }, { id: 10, outer: 0, address: 10.3.0.254/24 }, { id: 10, outerType: 802.1x, address: 10.3.0.254/24 }] }]`,
    [
      "listeners[0].vlans[0].id is 4095, above 4094",
      "listeners[0].vlans[1].outer is 0, below 1",
      'listeners[0].vlans[2].outerType is "802.1x", not one of 802.1ad, 802.1Q',
    ],
  ],
  [
    "VLANs whose networks have mistakes, and rules for VLANs that are not there",
    `listeners: [{ name: a, mode: inline, topology: bridge, networkA: eth1, networkB: eth2,
      vlans: [{ id: 10, address: 10.3.0.254/24, gateway: 10.4.0.1 }, { id: 10, outer: 100, address: 10.3.0.254/24 }, { id: 10 }] }]
policy: { rules: [{ name: a, match: { vlan: [10, 100/10, untagged] }, action: drop }, { name: b, match: { vlan: 30 }, action: drop }] }`,
    [
      'listeners[0].vlans[0].gateway is "10.4.0.1", which is in no subnet of the bridge',
      "listeners[0].vlans[2].address is missing: a bridge needs an address on its network",
      "listeners[0].vlans[2].id is 10, which vlans[0] has already",
      'policy.rules[1].match.vlan is "30", but no VLAN of a bridge has this name',
    ],
  ],
  [
    "a rule's VLANs",
    `${PROXY}policy: { rules: [{ name: a, match: { vlan: [0, 4095, 1/5000, ten] }, action: drop }] }`,
    [0, 4095, "1/5000", "ten"].map(
      (value, index) =>
        `policy.rules[0].match.vlan[${index}] is ${JSON.stringify(value)}, neither untagged, a VLAN's id (1 to 4094) nor two such as 100/10`,
    ),
  ],
  [
    "inline listeners with different stops",
    `listeners: [{ name: a, mode: inline, topology: routed, networkA: eth1, networkB: eth2 },
      { name: b, mode: inline, topology: routed, networkA: eth3, networkB: eth4, stop: keep }]`,
    ['listeners[1].stop is "keep", but listeners[0].stop is "remove": all inline listeners need the same value'],
  ],
  [
    "bridge keys in a routed listener",
    `listeners: [{ name: a, mode: inline, topology: routed, networkA: eth1, networkB: eth2, gateway: 10.3.0.1, routes: [{ to: 10.9.0.0/16, via: 10.3.0.7 }], vlans: [{ id: 10 }] }]`,
    [
      "listeners[0].gateway is for topology bridge only: with routed, this machine's own routes apply",
      "listeners[0].routes is for topology bridge only: with routed, this machine's own routes apply",
      "listeners[0].vlans is for topology bridge only: with routed, name the VLAN's own interface",
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
    "a text that is not an address",
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
      'listeners[1].name is "a", already the name of listeners[0]',
      "listeners[1].address is localhost:1, where listeners[0] already listens",
    ],
  ],
  [
    "a listener at the console's address",
    'listeners: [{ name: a, mode: explicit, address: "127.0.0.1:8484" }]',
    ["listeners[0].address is 127.0.0.1:8484, where the console already listens"],
  ],
  ...["0.0.0.0:8484", "[::]:8484", "10.0.0.5:8484", "node.example:8484"].map((address): [string, string, string[]] => {
    const says = "where tokens would cross the network unencrypted. Set console.tls: {}, or console.plainHttp: true";
    const expected = `console.address is ${address}, ${says} behind a proxy that speaks TLS`;
    return [`an API in plain HTTP at ${address}`, `${PROXY}console: { address: "${address}" }`, [expected]];
  }),
  [
    "a provider of OpenID Connect in the open, without a role for anybody, whose secret is missing",
    `${PROXY}console: { oidc: { issuer: "http://id.example", clientId: a, clientSecretFile: none.txt, roles: {} } }`,
    [
      'console.oidc.issuer is "http://id.example", not a URL that begins with https://, or with http:// and a loopback address, and has no query',
      'console.oidc.clientSecretFile is "none.txt", but none.txt does not exist',
      "console.oidc.roles has no value for viewer, operator or administrator: nobody could log in",
    ],
  ],
  [
    "a console's URL with a path, and a scope of two words",
    `${PROXY}console: { oidc: { issuer: "https://id.example", clientId: a, url: "https://c.example/x", scopes: [a b], roles: { viewer: [x] } } }`,
    [
      'console.oidc.url is "https://c.example/x", not a URL that begins with https://, or with http:// and a loopback address, and has no query',
      'console.oidc.scopes[0] is "a b", not a scope',
    ],
  ],
  [
    "an API with half a certificate",
    `${PROXY}console: { tls: { certificate: /etc/hostname } }`,
    ["console.tls has certificate but no key"],
  ],
  [
    "an API with a certificate and names for another one",
    `${PROXY}console: { tls: { certificate: a.pem, key: a.key, names: [a.example] } }`,
    [
      'console.tls.certificate is "a.pem", but a.pem does not exist',
      'console.tls.key is "a.key", but a.key does not exist',
      "console.tls.names is for certificates that the primary CA signs; remove it, or certificate and key",
    ],
  ],
  [
    "an API with names that are none",
    `${PROXY}console: { tls: { names: ["*.a.example", "a b"] } }`,
    [
      'console.tls.names[0] is "*.a.example", neither a host name nor an address',
      'console.tls.names[1] is "a b", neither a host name nor an address',
    ],
  ],
  [
    "a listener that forwards to itself",
    'listeners: [{ name: a, mode: forward, address: "0.0.0.0:1", server: "localhost:1" }]',
    ["listeners[0].server is localhost:1, where listeners[0] listens: the node would connect to itself"],
  ],
  [
    "a listener that forwards to the console",
    'listeners: [{ name: a, mode: forward, address: "0.0.0.0:1", server: "localhost:8484" }]',
    ["listeners[0].server is localhost:8484, where the console listens: the node would connect to itself"],
  ],
  [
    "a class of addresses that reach does not know",
    'listeners: [{ name: a, mode: explicit, address: "0.0.0.0:1", reach: [own, local] }]',
    ['listeners[0].reach[1] is "local", neither all, loopback, linkLocal, own, nor an address or a subnet'],
  ],
  [
    "a value of reach that is no text",
    'listeners: [{ name: a, mode: explicit, address: "0.0.0.0:1", reach: 7 }]',
    ["listeners[0].reach is 7, neither all, loopback, linkLocal, own, nor an address or a subnet"],
  ],
  [
    "a percentage without its sign",
    `${PROXY}overload: { cpu: 95 }`,
    ['overload.cpu is 95, neither "off" nor a percentage from 1% to 100%, such as 90%'],
  ],
  [
    "a threshold of nothing",
    `${PROXY}overload: { memory: "0%" }`,
    ['overload.memory is "0%", neither "off" nor a percentage from 1% to 100%, such as 90%'],
  ],
  [
    "a delay below what can be measured",
    `${PROXY}overload: { eventLoopDelay: 1ms }`,
    ['overload.eventLoopDelay is "1ms", neither "off" nor a duration from 5ms to 1m, such as 50ms'],
  ],
  [
    "no session for a client",
    `${PROXY}limits: { perClient: 0 }`,
    ["limits.perClient is 0, neither a number from 1 to 10000000 nor { sessions, halfOpen }"],
  ],
  [
    "a limit for a client that is not known",
    `${PROXY}limits: { perClient: { halfopen: 3 } }`,
    ["limits.perClient.halfopen is not known; did you mean halfOpen?"],
  ],
  [
    "a way to match that SSLproxy's line does not have",
    `${PROXY}tools: [{ name: t, kind: proxy, address: "127.0.0.1:5", returnAddress: "127.0.0.1:6", header: sslproxy, matching: addresses }]`,
    ["tools[0].matching is for header proxy-v2 only: with sslproxy each session has a port of its own"],
  ],
  [
    "version limits out of order",
    `${PROXY}policy: { versions: { min: TLSv1.3, max: TLSv1.2 } }`,
    ["policy.versions.min is TLSv1.3, above policy.versions.max, which is TLSv1.2"],
  ],
  [
    "a maximum below the default minimum",
    `${PROXY}policy: { versions: { max: TLSv1.1 } }`,
    ["policy.versions.min is TLSv1.2, above policy.versions.max, which is TLSv1.1"],
  ],
  [
    "a version that is not supported",
    `${PROXY}policy: { versions: { min: SSLv2 } }`,
    ['policy.versions.min is "SSLv2", not one of SSLv3, TLSv1, TLSv1.1, TLSv1.2, TLSv1.3'],
  ],
  [
    "a text that is not a duration",
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
    "a number that is not whole",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, keep: 1.5 }]`,
    ["feeds[0].keep is 1.5, not a whole number"],
  ],
  ["too many workers", `${PROXY}workers: 65`, ["workers is 65, above 64"]],
  ["workers in words", `${PROXY}workers: many`, ['workers is "many", neither "auto" nor a number between 1 and 64']],
  [
    "two feeds of one name",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d }, { name: a, kind: pcapng, directory: e }]`,
    ['feeds[1].name is "a", already the name of feeds[0]'],
  ],
  [
    "feeds that would delete each other's files",
    `${PROXY}log: { targets: [{ kind: file, directory: d }, { kind: file, directory: ./e/../d }] }
feeds:
  - { name: a, kind: pcapng, directory: "${folder}/d" }
  - { name: b, kind: keylog, file: d/a.pcapng }
  - { name: c, kind: tls-log, file: d/tls }
  - { name: e, kind: keylog, file: ./d/tls }
  - { name: clearline, kind: http, directory: d/ }
  - { name: f, kind: tls-log, file: d/clearline.jsonl }
  - { name: g, kind: tls-log, file: other/clearline.jsonl }
  - { name: h, kind: tls-log, file: d/clearline.json }`,
    [
      `log.targets[1].directory leads to files named "clearline-….jsonl" in the same folder as those of log.targets[0].directory${CLASH}`,
      `feeds[1].file leads to files named "a-….pcapng" in the same folder as those of feeds[0].directory${CLASH}`,
      `feeds[3].file leads to files named "tls-…" in the same folder as those of feeds[2].file${CLASH}`,
      `feeds[4].directory leads to files named "clearline-….jsonl" in the same folder as those of log.targets[0].directory${CLASH}`,
      `feeds[5].file leads to files named "clearline-….jsonl" in the same folder as those of log.targets[0].directory${CLASH}`,
    ],
  ],
  [
    "feeds that meet in one folder by a symbolic link",
    `${PROXY}feeds:
  - { name: a, kind: pcapng, directory: real/captures }
  - { name: a2, kind: keylog, file: linked/captures/a.pcapng }
  - { name: b, kind: tls-log, file: real/captures/b.pcapng }
  - { name: c, kind: tls-log, file: astray/captures/a.pcapng }`,
    [`feeds[1].file leads to files named "a-….pcapng" in the same folder as those of feeds[0].directory${CLASH}`],
  ],
  [
    "two feeds that read HTTP",
    `${PROXY}feeds: [{ name: a, kind: http }, { name: b, kind: http }]`,
    ["feeds[1] is a second feed of kind http; the first is feeds[0]"],
  ],
  [
    "a feed that holds more of one session than of all",
    `${PROXY}feeds: [{ name: a, kind: http, limits: { memory: 1MiB, session: 2MiB } }]`,
    ["feeds[0].limits.session is more than limits.memory, which is for all sessions"],
  ],
  [
    "a feed for a rule that does not exist",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, rules: [default, bankign] }]
policy: { rules: [{ name: banking, action: decrypt }] }`,
    ['feeds[0].rules[1] is "bankign", but no rule has this name'],
  ],
  [
    "a feed at a listener's address",
    `${PROXY}feeds: [{ name: a, kind: pcap-over-ip, address: "127.0.0.1:8080" }]`,
    ["feeds[0].address is 127.0.0.1:8080, where listeners[0] already listens"],
  ],
  [
    "a feed into the path of the traffic",
    `listeners: [{ name: edge, mode: inline, topology: routed, networkA: eth1, networkB: eth2 }]
feeds: [{ name: a, kind: interface, interface: eth2 }]`,
    ['feeds[0].interface is "eth2", already used as listeners[0].networkB: the plaintext would leave there'],
  ],
  [
    "a comment as mark in the format pcap",
    `${PROXY}feeds: [{ name: a, kind: pcap-over-ip, address: "[::1]:57012", format: pcap, mark: { comment: x } }]`,
    ["feeds[0].mark needs format pcapng: pcap has no comments on packets"],
  ],
  [
    "a mark of another feed kind",
    `${PROXY}feeds: [{ name: a, kind: interface, interface: mon0, mark: { comment: x } }]`,
    ["feeds[0].mark.vlan is missing", "feeds[0].mark.comment is not known"],
  ],
  [
    "no class of flows, and an unknown one",
    `${PROXY}feeds: [{ name: a, kind: pcapng, directory: d, flows: [] }, { name: b, kind: pcapng, directory: d, flows: [all] }]`,
    ["feeds[0].flows is empty", 'feeds[1].flows[0] is "all", not one of decrypted, bypassed, notTls'],
  ],
  [
    "a text that is not a MAC address",
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
    "a text that is not a host",
    `${PROXY}keys: [{ hosts: ["10.0.0.0/8"], certificate: /etc/hostname, key: /etc/hostname }]`,
    ['keys[0].hosts[0] is "10.0.0.0/8", not a host name, "*." and a host name, or an address'],
  ],
  [
    "an inbound key in two forms, and one in neither",
    `${PROXY}keys: [{ pkcs12: /etc/hostname, key: /etc/hostname }, { hosts: [a.example], certificate: /etc/hostname }]`,
    ["keys[0].key cannot be used with pkcs12, which holds both the certificate and the key", "keys[1].key is missing"],
  ],
  [
    "a key store with two secrets, and a file that does not exist",
    `${PROXY}keyStore: { passphraseFile: a.pass, keyFile: /etc/hostname, former: { keyFile: a.key } }`,
    [
      'keyStore.passphraseFile is "a.pass", but a.pass does not exist',
      "keyStore.keyFile cannot be used with passphraseFile; remove one of them",
      'keyStore.former.keyFile is "a.key", but a.key does not exist',
    ],
  ],
  [
    "a missing key that should be decrypted",
    `listeners: [{ name: a, mode: explicit, address: "127.0.0.1:8080", onMissingKey: decrypt }]`,
    ['listeners[0].onMissingKey is "decrypt", not one of bypass, drop'],
  ],
  ["a key that appears twice", `${PROXY}workers: 1\nworkers: 2`, ["the key workers appears twice"]],
];
for (const [title, yaml, expected] of WRONG) {
  test(`The configuration is refused for ${title}`, async () => {
    assert.deepEqual(await errorsOf(yaml), expected);
  });
}

test("An entry with mistakes does not hide conflicts between the others, nor count as missing", async () => {
  const yaml = `
listeners:
  - { name: a, mode: forward, address: "127.0.0.1:1" }
  - { name: a, mode: explicit, address: "127.0.0.1:2" }
  - { name: c, mode: explicit, address: "127.0.0.1:2" }
policy:
  versions: { min: TLSv1.3, max: TLSv1.2 }
  rules:
    - { name: r, match: { listener: a }, action: drp }
    - { name: s, match: { listener: [a, b] }, action: drop, tools: [ips, dlp] }
tools: [{ name: ips, kind: inline, interfaceA: tool-a }]
feeds: [{ name: f, kind: pcapng, directory: d, rules: [r, t] }]
`;
  assert.deepEqual(await errorsOf(yaml), [
    "listeners[0].server is missing",
    'listeners[1].name is "a", already the name of listeners[0]',
    "listeners[2].address is 127.0.0.1:2, where listeners[1] already listens",
    "policy.versions.min is TLSv1.3, above policy.versions.max, which is TLSv1.2",
    'policy.rules[0].action is "drp", not one of decrypt, bypass, drop',
    'policy.rules[1].match.listener[1] is "b", but no listener has this name',
    'policy.rules[1].tools[1] is "dlp", but no tool has this name',
    "tools[0].interfaceB is missing",
    'feeds[0].rules[1] is "t", but no rule has this name',
  ]);
});

test("Each error carries its place in the file: of a value, of an unknown key, of the group that lacks a key", async () => {
  const yaml = `listeners:
  - name: web
    mode: forward
    address: "127.0.0.1:1"
policy:
  rules: [{ name: r, match: { hots: x.test, port: 70000 }, action: drop }]
`;
  await assert.rejects(loadConfig(write("places.yaml", yaml)), ({ errors }: AggregateError) => {
    assert.deepEqual(
      errors.map(({ message }) => message),
      [
        "places.yaml:2:5: listeners[0].server is missing",
        "places.yaml:6:31: policy.rules[0].match.hots is not known; did you mean host?",
        "places.yaml:6:51: policy.rules[0].match.port is 70000, above 65535",
      ],
    );
    const [{ path, place }] = errors as [ConfigError];
    assert.equal(path, "listeners[0].server");
    assert.deepEqual(place, { file: "places.yaml", line: 2, column: 5, excerpt: "2 |   - name: web\n  |     ^" });
    return true;
  });
});

test("A configuration file that does not exist is named", async () => {
  await assert.rejects(loadConfig("missing.yaml"), ({ errors }: AggregateError) => {
    assert.deepEqual(errors.map(String), ["ConfigError: Cannot read missing.yaml: it does not exist"]);
    return true;
  });
});

test("Errors of syntax, values, conflicts and files are reported together, in the order of the file", async () => {
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
    "dataDir",
    "the",
    "workers",
    "listeners[1].name",
    "listeners[1].address",
    "policy.lists.bypass[0]",
    "policy.lists.decrypt[0]",
    "policy.rules[0].match.port",
    "policy.rules[0].action",
    "timeouts.connect",
    "colour",
  ]);
});

test("A mistake in a list file is reported with its file and line", async () => {
  write("hosts.txt", "# banks\nexample.com\nfoo bar\n");
  assert.deepEqual(await errorsOf(`${PROXY}policy: { lists: { bypass: [hosts.txt] } }`), [
    'policy.lists.bypass[0] names a list with a mistake: hosts.txt:3: "foo bar" is neither an address, a subnet, a range nor a host name',
  ]);
});

test("Of a list file with many mistakes the first are reported, and the number of the others", async () => {
  write("hosts.txt", "foo bar\n".repeat(1000));
  const errors = await errorsOf(`${PROXY}policy: { lists: { bypass: [hosts.txt] } }`);
  assert.equal(errors.length, 21);
  assert.equal(errors.at(-1), "policy.lists.bypass[0] names a list with 980 more mistakes: hosts.txt");
});

test("A key file without read permission is reported as such", async (context) => {
  write("www.pem", "certificate");
  chmodSync(join(folder, write("locked.key", "key")), 0o000);
  write("clearline.yaml", "");
  for (const name of ["", "clearline.yaml", "www.pem"]) chmodSync(join(folder, name), 0o777);
  // Root may read everything: switch to the user nobody while the file is loaded.
  if (process.getuid?.() === 0) {
    process.seteuid?.(65534);
    context.after(() => process.seteuid?.(0));
  }
  assert.deepEqual(
    await errorsOf(`${PROXY}keys: [{ hosts: [www.example.com], certificate: www.pem, key: locked.key }]`),
    ['keys[0].key is "locked.key", but locked.key cannot be read: this user has no permission'],
  );
});

test("Any text is a valid configuration or yields ConfigErrors", async () => {
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
