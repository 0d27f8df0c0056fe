import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { InboundKey } from "../pki/keys/inbound-key.ts";
import { createKeystore } from "../pki/keys/keystore.ts";
import { changesBetween } from "./changes.ts";

const loaded = await loadConfig(undefined);
const BEFORE = { loaded, keystore: createKeystore([]), trust: { roots: ["root"] } };
const { config } = loaded;

/** One change of each section, and the sentences that tell of it. A new section of the configuration has to join them. */
const SECTIONS: {
  readonly [Name in keyof Config]: readonly (readonly [Partial<Config[Name]> | Config[Name], string])[];
} = {
  dataDir: [["/elsewhere", "dataDir changed: that takes effect when the node is started again"]],
  workers: [[7, "workers changed: that takes effect when the node is started again"]],
  console: [
    [{ address: { host: "::1", port: 1 } }, "console changed: that takes effect when the node is started again"],
  ],
  history: [[{ keep: 1 }, "history changed: that takes effect when the node is started again"]],
  audit: [[{ keep: 1 }, "audit changed: that takes effect when the node is started again"]],
  log: [[{ level: "debug" }, "log changed: that takes effect when the node is started again"]],
  webhooks: [
    [
      [{ url: "https://hooks.example" } as Config["webhooks"][number]],
      "webhooks changed: that takes effect when the node is started again",
    ],
  ],
  signing: [[{ validity: 1 }, "signing changed: that takes effect when the node is started again"]],
  keyStore: [
    [{ keyFile: "/key" }, "keyStore changed: that takes effect when the node is started again"],
    [{ warnBefore: 1 }, "The warning before an inbound key's certificate ends changed"],
  ],
  listeners: [[[], "The listeners changed"]],
  tools: [[[{ name: "ips" } as Config["tools"][number]], "The tools changed"]],
  feeds: [[[], "The feeds changed"]],
  timeouts: [[{ hello: 1 }, "The timeouts changed"]],
  limits: [[{ sessions: 1 }, "The limits changed"]],
  overload: [[{ newSessions: 5 }, "The thresholds of overload changed"]],
  policy: [
    [{ default: "drop" }, "The policy changed, for new sessions"],
    [{ revocation: { ...config.policy.revocation, crl: "hard" } }, "The policy changed, for new sessions"],
    [{ startTls: { enabled: false, ports: [] } }, "The policy changed, for new sessions"],
  ],
  resumption: [
    [{ tickets: true }, "The resumption changed"],
    [{ node: "a" }, "resumption changed: what is kept and shared takes effect when the node is started again"],
  ],
  // Their files are read, and judged by what they hold.
  trust: [],
  keys: [],
};

test("A change of any section is told once, with when it takes effect", () => {
  for (const [name, changes] of Object.entries(SECTIONS)) {
    for (const [change, sentence] of changes) {
      const old = config[name as keyof Config];
      const section = typeof old === "object" && !Array.isArray(old) ? { ...old, ...(change as object) } : change;
      const after = { ...BEFORE, loaded: { ...loaded, config: { ...config, [name]: section } } };
      assert.deepEqual(changesBetween(BEFORE, after), [sentence], `${name}: ${JSON.stringify(change)}`);
    }
  }
});

test("Files that hold something else now are told of, though the configuration names the same", () => {
  const told = (changed: Partial<typeof loaded>) =>
    changesBetween(BEFORE, { ...BEFORE, loaded: { ...loaded, ...changed } });
  const pair = { path: "signing.primary", certificatePem: "", keyPem: "" };
  assert.deepEqual(told({ policy: { ...loaded.policy, default: "drop" } }), ["The policy changed, for new sessions"]);
  assert.deepEqual(told({ signing: { primary: pair } }), [
    "signing changed: that takes effect when the node is started again",
  ]);
  assert.deepEqual(changesBetween(BEFORE, { ...BEFORE, trust: { roots: [] } }), ["The trusted roots changed"]);
});

test("Inbound keys that were read again are told of, with their number", () => {
  const key = { hosts: [], publicKeySha256: "" } as unknown as InboundKey;
  const keystore = createKeystore([key]);
  assert.deepEqual(changesBetween(BEFORE, { ...BEFORE, keystore }), ["The inbound keys changed: 1 now"]);
  assert.deepEqual(changesBetween({ ...BEFORE, keystore }, { ...BEFORE, keystore: createKeystore([key]) }), []);
  assert.equal(
    changesBetween({ ...BEFORE, keystore }, { ...BEFORE, keystore: createKeystore([{ ...key }]) }).length,
    1,
  );
});
