import assert from "node:assert/strict";
import { test } from "node:test";
import { CONFIG } from "../config/schema.ts";
import type { ExplainQuery } from "../control/api.ts";
import { compilePolicy } from "../policy/evaluate.ts";
import { explainFlow } from "./explain.ts";
import type { NodeState } from "./state.ts";

const EXPLICIT = { name: "proxy", mode: "explicit", address: "127.0.0.1:8080" };
const FORWARD = { name: "web", mode: "forward", address: "127.0.0.1:8443", server: "10.0.0.5:443" };
const MAIL = { name: "mail", mode: "forward", address: "127.0.0.1:8025", server: "mail.example:587" };

/** A node with these listeners that bypasses bank.example: what its explanation says. */
function explained(listeners: readonly object[], query: ExplainQuery): string {
  const rules = [{ name: "banks", match: { host: ["bank.example"] }, action: "bypass" }];
  const config = CONFIG.parse({ listeners, policy: { rules, startTls: { enabled: true, ports: [587] } } });
  const running = {
    loaded: { config },
    keystore: { find: () => [] },
    trust: { roots: [] },
    policy: compilePolicy({ ...config.policy, lists: { bypass: [], decrypt: [] } } as never),
  };
  const { verdict, assumed } = explainFlow({ active: running as unknown as NodeState["active"] }, query);
  const { action, phase, rule } = verdict;
  return [`${action} by ${rule} in ${phase}`, ...assumed].join("; ");
}

const CONNECT =
  "bypass by banks in certificate; The client sends CONNECT, so hosts are judged in the certificate phase";
const STARTTLS =
  "bypass by banks in certificate; Port 587 is in policy.startTls.ports, so hosts are judged in the certificate phase";

test("A flow through an explicit proxy is decided in the certificate phase, with and without --listener", () => {
  assert.equal(explained([EXPLICIT], { host: "bank.example" }), CONNECT);
  assert.equal(explained([EXPLICIT, FORWARD], { host: "bank.example", listener: "proxy" }), CONNECT);
});

test("A flow that begins with a ClientHello is decided in the sni phase, and nothing is assumed", () => {
  assert.equal(explained([FORWARD], { host: "bank.example" }), "bypass by banks in sni");
  assert.equal(explained([EXPLICIT, FORWARD], { host: "bank.example", listener: "web" }), "bypass by banks in sni");
});

test("Without --listener, the first of different listeners is assumed, and the explanation says so", () => {
  const arrival = (at: string) => `The flow arrives at listener ${at}; --listener names another`;
  const query = { host: "bank.example" };
  assert.equal(
    explained([EXPLICIT, FORWARD], query),
    CONNECT.replace("The client", `${arrival("proxy (explicit)")}; The client`),
  );
  assert.equal(explained([FORWARD, EXPLICIT], query), `bypass by banks in sni; ${arrival("web (forward)")}`);
});

test("A server's port for STARTTLS makes the flow one that begins in plaintext", () => {
  assert.equal(explained([FORWARD], { host: "bank.example", server: "10.0.0.5:587" }), STARTTLS);
  assert.equal(explained([FORWARD], { host: "bank.example", server: "10.0.0.5:443" }), "bypass by banks in sni");
});

test("A forwarding listener's own server tells its port", () => {
  assert.equal(explained([FORWARD, MAIL], { host: "bank.example", listener: "mail" }), STARTTLS);
});

test("An explanation says what becomes of other flows, and what would decrypt TLS behind plaintext", () => {
  const of = (server: string, policy: object) => {
    const config = CONFIG.parse({ listeners: [FORWARD], policy });
    const compiled = compilePolicy({ ...config.policy, lists: { bypass: [], decrypt: [] } } as never);
    const running = { loaded: { config }, keystore: { find: () => [] }, trust: { roots: [] }, policy: compiled };
    return explainFlow({ active: running as unknown as NodeState["active"] }, { server }).otherwise;
  };
  assert.deepEqual(of("10.0.0.5:2525", {}), [
    "Not TLS: passes unchanged",
    "TLS that the node cannot decrypt: bypass by undecryptable",
    "TLS behind plaintext: bypass, because port 2525 is not watched. To decrypt it, policy.startTls must be enabled, and its ports must have 2525",
  ]);
  const startTls = { enabled: true, ports: [25] };
  const strict = { startTls, notTls: "drop", ports: [{ ports: 26, undecryptable: "drop" }] };
  assert.deepEqual(of("10.0.0.5:26", strict), [
    "Not TLS: dropped by notTls",
    "TLS that the node cannot decrypt: drop by undecryptable",
    "TLS behind plaintext: drop, because port 26 is not watched. To decrypt it, policy.startTls.ports must have 26",
  ]);
  assert.match(of("10.0.0.5:25", strict)[2] ?? "", /found and decrypted/);
});

test("A listener that does not exist is refused, with those that do", () => {
  assert.throws(() => explained([EXPLICIT, FORWARD], { listener: "none" }), {
    name: "ConfigError",
    message: "Cannot explain: there is no listener none; the configuration has proxy, web",
  });
});

test("A flow into the node itself, or to what its listener does not reach, is dropped before any rule", () => {
  const open = { name: "open", mode: "explicit", address: "0.0.0.0:8081" };
  const sentence = "; The client sends CONNECT, so hosts are judged in the certificate phase";
  for (const server of ["127.0.0.1:8484", "0.0.0.0:8080", "[::ffff:127.0.0.1]:8080"])
    assert.equal(
      explained([EXPLICIT], { host: "bank.example", server }),
      `drop by reach in network${sentence}`,
      server,
    );
  assert.match(explained([open], { server: "127.0.0.1:9" }), /^drop by reach in network/);
  assert.match(explained([EXPLICIT], { server: "127.0.0.1:9" }), /^decrypt by default/);
});
