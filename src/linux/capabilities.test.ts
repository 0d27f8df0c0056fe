import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ConfigError, NetworkError } from "../errors.ts";
import { applyPlan, undoPlan } from "../kernel/apply.ts";
import { localDelivery } from "../kernel/listener/routing.ts";
import { requireBpf, requireNetAdmin } from "./capabilities.ts";
import { within } from "./netns.ts";
import { openQueue } from "./nfqueue.ts";
import { probeFeatures } from "./nftables.ts";
import { transparentClient, transparentListener } from "./sockets.ts";
import { writeSysctl } from "./sysctls.ts";
import { type Network, needsNamespaces, routedNetwork, run } from "./test-network.ts";

const NAMESPACES = needsNamespaces();
const NOBODY = 65_534;
const folder = mkdtempSync(join(tmpdir(), "clearline-nobody-"));
const journal = join(folder, "inline.json");

let network: Network;
before(() => {
  if (NAMESPACES.skip === false) network = routedNetwork();
});
after(() => {
  network?.[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

/** In the node's namespace, without any capability for as long as it runs. */
function asNobody<T>(make: () => T): { result: T } {
  return within(network.node, () => {
    process.seteuid?.(NOBODY);
    try {
      return { result: make() };
    } finally {
      process.seteuid?.(0);
    }
  });
}

test("With CAP_NET_ADMIN the check passes", NAMESPACES, () => {
  requireNetAdmin();
});

test("Without CAP_NET_ADMIN the error says what is missing and what to do", NAMESPACES, () => {
  for (const attempt of [requireNetAdmin, probeFeatures]) {
    assert.throws(
      () => asNobody(attempt),
      (error: Error) =>
        error instanceof ConfigError && /^Cannot set up .* CAP_NET_ADMIN; start [^\n]*$/.test(error.message),
    );
  }
});

test("Without CAP_BPF the error names the VLANs' place in the configuration", NAMESPACES, () => {
  requireBpf("listeners[0].vlans");
  assert.throws(
    () => asNobody(() => requireBpf("listeners[0].vlans")),
    (error: Error) =>
      error instanceof ConfigError &&
      error.path === "listeners[0].vlans" &&
      /^Cannot set up VLANs \(listeners\[0\].vlans\): they need the capability CAP_BPF; start [^\n]*$/.test(
        error.message,
      ),
  );
});

test("Without CAP_NET_ADMIN no socket is transparent and no queue opens, and nothing stays open", NAMESPACES, () => {
  const before = readdirSync("/proc/self/fd").length;
  const attempts: readonly (() => unknown)[] = [
    () => transparentListener({ address: "0.0.0.0", port: 15_000, backlog: 1, reusePort: true }),
    () => transparentClient({ address: "fd00:1::2", port: 0 }),
    () => openQueue({ number: 9, onPacket: () => {}, onError: assert.fail }),
  ];
  for (const attempt of attempts) {
    assert.throws(
      () => asNobody(attempt),
      (error: Error) =>
        error instanceof NetworkError && error.code === "EPERM" && /needs CAP_NET_ADMIN/.test(error.message),
    );
  }
  assert.equal(readdirSync("/proc/self/fd").length, before);
});

test("Without the right to write a setting, the error names the capability", NAMESPACES, () => {
  assert.throws(
    () => asNobody(() => writeSysctl("net/ipv4/conf/na/rp_filter", "1")),
    /rp_filter to 1: .*CAP_NET_ADMIN/,
  );
});

test("Steps that this process may not undo stay in the journal, for a run that may", NAMESPACES, () => {
  const before = run(network.node, "ip", "rule");
  const steps = localDelivery({ family: 4, mark: 1, mask: 0xff, table: 7700, priority: 100 });
  within(network.node, () => applyPlan({ steps }, journal));
  chmodSync(folder, 0o777);
  chmodSync(journal, 0o666);
  const { result: told } = asNobody(() => undoPlan(journal));
  assert.equal(told.length, steps.length);
  assert.ok(existsSync(journal));
  const other = { steps: steps.slice(1) };
  assert.throws(() => asNobody(() => applyPlan(other, journal)), /what an earlier run set up/);
  assert.deepEqual(
    within(network.node, () => [...undoPlan(journal)]),
    [],
  );
  assert.equal(run(network.node, "ip", "rule"), before);
});
