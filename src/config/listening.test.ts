import assert from "node:assert/strict";
import { test } from "node:test";
import { listenerAddress } from "./listener.ts";
import { requiredPorts } from "./listening.ts";
import { CONFIG } from "./schema.ts";

const { dataDir = "", ...written } = CONFIG.parse({
  listeners: [
    { name: "proxy", mode: "explicit", address: "127.0.0.1:8080" },
    { name: "web", mode: "forward", address: "[::1]:8443", server: "10.0.0.5:443" },
    { name: "edge", mode: "inline", topology: "routed", networkA: "eth1", networkB: "eth2" },
  ],
  tools: [
    { name: "dlp", kind: "proxy", address: "10.0.9.5:3128", returnAddress: "0.0.0.0:3129" },
    { name: "av", kind: "proxy", address: "10.0.9.6:3128", returnAddress: "0.0.0.0:3130", header: "sslproxy" },
    { name: "ips", kind: "inline", interfaceA: "tool-a", interfaceB: "tool-b" },
  ],
  feeds: [{ name: "shark", kind: "pcap-over-ip", address: "127.0.0.1:57012" }],
});
const config = { ...written, dataDir };

test("The ports of listeners and of proxy tools' way back must be free, not a feed's nor a port that is not used", () => {
  assert.deepEqual(requiredPorts(config), [
    { host: "127.0.0.1", port: 8080, path: "listeners[0].address" },
    { host: "::1", port: 8443, path: "listeners[1].address" },
    { host: "0.0.0.0", port: 3129, path: "tools[0].returnAddress" },
  ]);
});

test("A listener is named by its address, and one without an address by its interfaces", () => {
  assert.deepEqual(config.listeners.map(listenerAddress), ["127.0.0.1:8080", "[::1]:8443", "eth1 to eth2 (routed)"]);
});
