import assert from "node:assert/strict";
import { test } from "node:test";
import { textOf } from "./formats.ts";
import { reachOf } from "./own-places.ts";
import { CONFIG } from "./schema.ts";
import { warningsOf } from "./warnings.ts";

const listeners = [
  { name: "near", mode: "explicit", address: "127.0.0.1:8080" },
  { name: "far", mode: "explicit", address: "10.0.0.1:8080" },
  { name: "open", mode: "explicit", address: "[::]:8081", reach: ["own", "169.254.169.254"] },
  { name: "web", mode: "forward", address: "0.0.0.0:8443", server: "10.0.0.5:443" },
];

const config = {
  ...CONFIG.parse({
    listeners,
    tools: [
      { name: "dlp", kind: "proxy", address: "dlp.example:3128", returnAddress: "0.0.0.0:3129" },
      { name: "ips", kind: "inline", interfaceA: "a", interfaceB: "b" },
    ],
    feeds: [{ name: "shark", kind: "pcap-over-ip", address: "127.0.0.1:57012" }],
    resumption: { shared: "rediss://user:secret@[fd00::7]/0" },
  }),
  dataDir: "/nonexistent",
};

test("The node's own places are everything that listens for it, its tools and its store", () => {
  assert.deepEqual(reachOf(config).places.map(textOf), [
    ...["127.0.0.1:8484", "127.0.0.1:8080", "10.0.0.1:8080", "[::]:8081", "0.0.0.0:8443", "127.0.0.1:57012"],
    ...["0.0.0.0:3129", "dlp.example:3128", "[fd00::7]:6379"],
  ]);
});

test("By default an explicit listener reaches this machine only from loopback, and others are warned of", () => {
  assert.deepEqual(reachOf(config).listeners, { near: ["all"], far: [], open: ["own", "169.254.169.254"] });
  const warnings = warningsOf(config).filter((one) => one.startsWith("listeners"));
  assert.deepEqual(
    warnings.map((one) => one.split(":")[0]),
    ["listeners[1].address is not on loopback", "listeners[2].reach opens own, 169.254.169.254"],
  );
});
