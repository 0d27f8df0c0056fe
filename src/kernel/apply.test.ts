import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { ConfigError } from "../errors.ts";
import { within } from "../linux/netns.ts";
import { loadRules, probeFeatures, readCounters } from "../linux/nftables.ts";
import type { Command } from "../linux/program.ts";
import { readLink } from "../linux/routes.ts";
import { feed, type Network, needsNamespaces, routedNetwork, run } from "../linux/test-network.ts";
import { applyPlan, undoPlan } from "./apply.ts";
import { localDelivery } from "./listener/routing.ts";
import type { Step } from "./step.ts";

const NAMESPACES = needsNamespaces();
const folder = mkdtempSync(join(tmpdir(), "clearline-setup-"));
const journal = join(folder, "inline.json");

let network: Network;
before(() => {
  if (NAMESPACES.skip !== false) return;
  network = routedNetwork();
  // What somebody else has set up must be there afterwards, as it was.
  feed(
    network.node,
    "table inet foreign {\n chain c {\n type filter hook prerouting priority 0;\n tcp dport 1 accept\n }\n}",
    "nft",
    "-f",
    "-",
  );
  run(network.node, "ip", "rule", "add", "priority", "77", "fwmark", "0x9", "lookup", "99");
  run(network.node, "ip", "route", "add", "192.0.2.0/24", "via", "10.2.0.2", "table", "99");
});
beforeEach(() => rmSync(journal, { force: true }));
after(() => {
  network?.[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** Everything that the steps of an inline node change, as text. */
function dump(): string {
  const commands = [
    "nft list ruleset",
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
    "ip link",
  ];
  const settings =
    "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/ipv6/conf /proc/sys/net/bridge /proc/sys/net/ipv4/ip_forward";
  const lines = [...commands, settings].map((command) => `${command} | grep -v -e stable_secret -e 'expires' | sort`);
  return run(network.node, "sh", "-c", lines.join("; echo ---; "));
}

const INET = "table inet clearline\ndelete table inet clearline\n";
const RULES: Step = {
  kind: "command",
  why: "rules",
  run: ["nft", "-f", "-"],
  input: `${INET}table inet clearline {\n counter seen {\n }\n chain c {\n type filter hook prerouting priority 0;\n counter name "seen"\n }\n}\n`,
  undo: ["nft", "-f", "-"],
  undoInput: INET,
};

function iptables(family: "ip" | "ip6"): Step[] {
  const raw = (...args: string[]): Command => [`${family}tables-nft`, "-t", "raw", ...args];
  return [
    { kind: "hold-table", why: "table", family },
    { kind: "command", why: "chain", run: raw("-N", "CLEARLINE-SYN"), undo: raw("-X", "CLEARLINE-SYN") },
    {
      kind: "command",
      why: "jump",
      run: raw("-I", "PREROUTING", "-j", "CLEARLINE-SYN"),
      undo: raw("-D", "PREROUTING", "-j", "CLEARLINE-SYN"),
    },
  ];
}

/** One step of every kind. */
const STEPS: readonly Step[] = [
  {
    kind: "command",
    why: "a bridge",
    run: ["ip", "link", "add", "clbr9", "type", "bridge"],
    undo: ["ip", "link", "del", "clbr9"],
  },
  { kind: "link-up", why: "up", name: "clbr9" },
  { kind: "sysctl", why: "own", key: "net/ipv4/conf/clbr9/rp_filter", value: "2" },
  { kind: "sysctl", why: "shared", key: "net/bridge/bridge-nf-call-iptables", value: "0", optional: true },
  { kind: "sysctl", why: "none", key: "net/ipv4/no_such_setting", value: "1", optional: true },
  {
    kind: "sysctl",
    why: "all",
    key: "net/ipv6/conf/all/forwarding",
    value: "0",
    alongside: "net/ipv6/conf/*/forwarding",
  },
  RULES,
  ...iptables("ip"),
  ...iptables("ip6"),
  ...localDelivery({ family: 4, mark: 0x810000, mask: 0xff0000, table: 7700, priority: 100 }),
  ...localDelivery({ family: 6, mark: 0x810000, mask: 0xff0000, table: 7700, priority: 100 }),
];

function apply(steps: readonly Step[]): void {
  within(network.node, () => applyPlan({ steps }, journal));
}

function undo(): string[] {
  return within(network.node, () => [...undoPlan(journal)]);
}

test("Undoing restores exactly the state from before the steps", NAMESPACES, async () => {
  run(network.node, "sysctl", "-qw", "net.ipv6.conf.nb.forwarding=0");
  const before = dump();
  apply(STEPS);
  const during = dump();
  for (const sign of [
    /clbr9/,
    /table inet clearline/,
    /CLEARLINE-SYN/,
    /fwmark 0x810000\/0xff0000/,
    /ipv6\/conf\/all\/forwarding:0/,
  ]) {
    assert.match(during, sign);
  }
  assert.equal(within(network.node, () => readLink("clbr9"))?.up, true);
  assert.equal(statSync(journal).mode & 0o777, 0o600);
  assert.deepEqual(undo(), []);
  assert.equal(dump(), before);
  assert.throws(() => statSync(journal), { code: "ENOENT" });
  run(network.node, "sysctl", "-qw", "net.ipv6.conf.nb.forwarding=1");
});

test("When a step fails, the steps before it are undone and the error names it", NAMESPACES, () => {
  const before = dump();
  const broken: Step = { kind: "command", why: "broken", run: ["ip", "link", "set", "no-such-link", "up"] };
  assert.throws(
    () => apply([...STEPS, broken]),
    (error: Error) =>
      error instanceof ConfigError && /ip link set no-such-link up failed: Cannot find device/.test(error.message),
  );
  assert.equal(dump(), before);
});

test("An identical rule of somebody else stays when our step fails because of it", NAMESPACES, () => {
  run(network.node, "ip", "rule", "add", "priority", "100", "fwmark", "0x810000/0xff0000", "lookup", "7700");
  const before = dump();
  assert.throws(() => apply(STEPS), /File exists/);
  const after = dump();
  run(network.node, "ip", "rule", "del", "priority", "100");
  assert.equal(after, before);
});

test("After a kill at any moment the journal lists every step that has to be undone", NAMESPACES, () => {
  const before = dump();
  for (let count = 1; count <= STEPS.length; count += 3) {
    // A process of its own sets up this many steps and is killed before it can say more.
    const script = `
      import { applyPlan } from ${JSON.stringify(new URL("apply.ts", import.meta.url).href)};
      applyPlan({ steps: ${JSON.stringify(STEPS.slice(0, count))} }, ${JSON.stringify(journal)});
      process.kill(process.pid, "SIGKILL");`;
    const args = ["netns", "exec", network.node, process.execPath, "--input-type=module", "-e", script];
    assert.throws(() => execFileSync("ip", args, { stdio: "pipe" }), { signal: "SIGKILL" });
    // The last step's outcome is not known to the journal of a process that died in it.
    const written = JSON.parse(readFileSync(journal, "utf8")) as { entries: { done: boolean }[] };
    written.entries.at(-1)!.done = false;
    writeFileSync(journal, JSON.stringify(written));
    assert.notEqual(dump(), before);
    assert.deepEqual(undo(), []);
    assert.equal(dump(), before, `after ${count} steps`);
  }
});

test("Another process cannot take down what a running node has set up", NAMESPACES, async (t) => {
  const script = `
    import { applyPlan } from ${JSON.stringify(new URL("apply.ts", import.meta.url).href)};
    applyPlan({ steps: ${JSON.stringify(STEPS.slice(0, 2))} }, ${JSON.stringify(journal)});
    process.stdout.write("set up");
    setInterval(() => {}, 1000);`;
  const node = spawn("ip", ["netns", "exec", network.node, process.execPath, "--input-type=module", "-e", script]);
  t.after(() => node.kill("SIGKILL"));
  await once(node.stdout, "data");
  const during = dump();
  assert.throws(
    undo,
    (error: Error) => error instanceof ConfigError && error.message.includes(`still runs as process ${node.pid}`),
  );
  assert.equal(dump(), during);
  node.kill("SIGKILL");
  await once(node, "close");
  assert.deepEqual(undo(), []);
  assert.doesNotMatch(dump(), /clbr9/);
});

test("A start undoes what an earlier run left, then does its own steps", NAMESPACES, () => {
  const before = dump();
  apply(STEPS);
  apply(STEPS);
  assert.deepEqual(undo(), []);
  assert.equal(dump(), before);
});

const CHECKED: readonly Step[] = [
  {
    kind: "command",
    why: "a bridge",
    run: ["ip", "link", "add", "clbr9", "type", "bridge"],
    undo: ["ip", "link", "del", "clbr9"],
    check: ["ip", "link", "show", "dev", "clbr9", "type", "bridge"],
  },
  { kind: "link-up", why: "up", name: "clbr9" },
  { kind: "bridge-port", why: "port", name: "nb", bridge: "clbr9" },
  { kind: "sysctl", why: "own", key: "net/ipv4/conf/clbr9/rp_filter", value: "2" },
  { kind: "sysctl", why: "none", key: "net/ipv4/no_such_setting", value: "1", optional: true },
  RULES,
  ...localDelivery({ family: 4, mark: 0x810000, mask: 0xff0000, table: 7700, priority: 100 }),
  ...localDelivery({ family: 6, mark: 0x810000, mask: 0xff0000, table: 7700, priority: 100 }),
];

/** The bridge's index: another one has another. */
function bridgeIndex(): string {
  return run(network.node, "cat", "/sys/class/net/clbr9/ifindex");
}

test("A start takes over steps that are already done, and loads its own rules", NAMESPACES, () => {
  const before = dump();
  apply(CHECKED);
  const index = bridgeIndex();
  const renamed = CHECKED.map((step) =>
    step === RULES && step.kind === "command" ? { ...step, input: step.input?.replaceAll("seen", "new") ?? "" } : step,
  );
  apply(renamed);
  assert.equal(bridgeIndex(), index);
  const rules = run(network.node, "nft", "list", "table", "inet", "clearline");
  assert.match(rules, /counter new/);
  assert.doesNotMatch(rules, /seen/);
  assert.deepEqual(undo(), []);
  assert.equal(dump(), before);
});

for (const [what, change] of [
  ["a port that left the bridge", ["ip", "link", "set", "nb", "nomaster"]],
  ["a bridge that is down", ["ip", "link", "set", "clbr9", "down"]],
  ["a routing rule that is gone", ["ip", "-6", "rule", "del", "priority", "100"]],
  ["a route that is gone", ["ip", "route", "flush", "table", "7700"]],
  ["a setting that is another", ["sysctl", "-qw", "net.ipv4.conf.clbr9.rp_filter=1"]],
] as const) {
  test(`A start does all steps again when it finds ${what}`, NAMESPACES, () => {
    const before = dump();
    apply(CHECKED);
    const [whole, index] = [run(network.node, "ip", "-6", "rule"), bridgeIndex()];
    const [program, ...args] = change;
    run(network.node, program, ...args);
    apply(CHECKED);
    assert.notEqual(bridgeIndex(), index);
    assert.equal(run(network.node, "ip", "-6", "rule"), whole);
    assert.deepEqual(undo(), []);
    assert.equal(dump(), before);
  });
}

test("A start does all steps again when its plan has changed", NAMESPACES, () => {
  const before = dump();
  apply(CHECKED);
  apply(CHECKED.slice(0, -2));
  assert.equal(run(network.node, "ip", "-6", "rule", "show", "priority", "100"), "");
  assert.deepEqual(undo(), []);
  assert.equal(dump(), before);
});

test("A journal of another boot or network namespace is removed, and nothing is undone", NAMESPACES, () => {
  apply(STEPS);
  const during = dump();
  const kept = readFileSync(journal, "utf8");
  writeFileSync(journal, kept.replace(/net:\[\d+\]/, "net:[1]"));
  assert.deepEqual(undo(), []);
  assert.equal(dump(), during);
  assert.throws(() => statSync(journal), { code: "ENOENT" });
  writeFileSync(journal, kept);
  assert.deepEqual(undo(), []);
});

test("A setting that somebody else has changed since keeps its new value", NAMESPACES, () => {
  apply([{ kind: "sysctl", why: "ours", key: "net/ipv4/conf/na/rp_filter", value: "1" }]);
  run(network.node, "sysctl", "-qw", "net.ipv4.conf.na.rp_filter=2");
  assert.deepEqual(undo(), []);
  assert.equal(run(network.node, "sysctl", "-n", "net.ipv4.conf.na.rp_filter").trim(), "2");
});

test("An iptables table that somebody else uses meanwhile stays", NAMESPACES, () => {
  apply(STEPS);
  run(network.node, "iptables-nft", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--dport", "9", "-j", "ACCEPT");
  assert.deepEqual(undo(), []);
  const left = run(network.node, "nft", "list", "ruleset");
  assert.match(left, /table ip raw[^}]*dport 9/);
  assert.doesNotMatch(left, /CLEARLINE|table ip6 raw/);
  run(network.node, "nft", "delete", "table", "ip", "raw");
});

test("A step that cannot be undone is reported, and the others are undone", NAMESPACES, () => {
  const before = dump();
  apply(STEPS);
  run(network.node, "ip", "rule", "del", "priority", "100");
  const told = undo();
  assert.equal(told.length, 1);
  assert.match(told[0]!, /ip -4 rule del priority 100/);
  assert.equal(dump(), before);
});

test("The error for a setting that the kernel does not have names the setting", NAMESPACES, () => {
  const steps: Step[] = [{ kind: "sysctl", why: "needed", key: "net/ipv4/conf/no-such-link/forwarding", value: "1" }];
  assert.throws(() => apply(steps), /net\/ipv4\/conf\/no-such-link\/forwarding: there is no such network interface/);
});

test("When the journal cannot be written, nothing is changed", NAMESPACES, () => {
  const before = dump();
  const nowhere = join(folder, "no-such-folder", "inline.json");
  assert.throws(
    () => within(network.node, () => applyPlan({ steps: STEPS }, nowhere)),
    /Cannot write .*inline.json.*ENOENT/,
  );
  assert.equal(dump(), before);
});

test("An interface of another bridge stays there, and nothing is changed", NAMESPACES, () => {
  run(network.node, "ip", "link", "add", "theirs", "type", "bridge");
  run(network.node, "ip", "link", "set", "nb", "master", "theirs");
  const before = dump();
  const taken: Step = { kind: "bridge-port", why: "port", name: "nb", bridge: "clbr9" };
  assert.throws(() => apply([...STEPS, taken]), /Cannot make nb a port of the bridge clbr9: it belongs to theirs/);
  assert.equal(dump(), before);
  run(network.node, "ip", "link", "del", "theirs");
});

test("Rules that the kernel refuses change nothing, and the error has its reason", NAMESPACES, () => {
  within(network.node, () => loadRules(RULES.kind === "command" ? (RULES.input ?? "") : ""));
  const before = run(network.node, "nft", "list", "ruleset");
  assert.throws(
    () => within(network.node, () => loadRules(`${INET}table inet clearline {\n chain c {\n bogus\n }\n}\n`)),
    ConfigError,
  );
  assert.equal(run(network.node, "nft", "list", "ruleset"), before);
  run(network.node, "nft", "delete", "table", "inet", "clearline");
});

test("Asking for the kernel's features changes nothing", NAMESPACES, () => {
  const before = dump();
  const features = within(network.node, () => probeFeatures());
  assert.equal(features.tproxy && features.socketMatch && features.bridge, true);
  assert.equal(dump(), before);
});

test("Counters are read by their name, and only those of the table", NAMESPACES, async () => {
  within(network.node, () => loadRules(RULES.kind === "command" ? (RULES.input ?? "") : ""));
  feed(network.node, "add table inet other\nadd counter inet other seen", "nft", "-f", "-");
  const counts = await within(network.node, () => ({ read: readCounters("inet", "clearline") })).read;
  assert.deepEqual([...counts.keys()], ["seen"]);
  run(network.node, "nft", "delete", "table", "inet", "other");
  run(network.node, "nft", "delete", "table", "inet", "clearline");
});
