import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError } from "../errors.ts";
import type { Flags } from "./embedded-default.ts";
import { type Loaded, loadConfig, withPlaces } from "./load.ts";

const load = (flags: Flags): Promise<Loaded> => loadConfig(undefined, undefined, flags);

test("Options make the same configuration as a file", async () => {
  const { config, flags } = await load({
    listen: ["8888", "[::1]:9999"],
    bypass: ["*.bank.example", "10.0.0.0/8"],
    insecure: ["dev.example", "127.0.0.1"],
    capture: false,
  });
  assert.deepEqual(flags.listen, ["8888", "[::1]:9999"]);
  assert.deepEqual(
    config.listeners.map((one) => [one.name, one.mode, "address" in one && one.address]),
    [
      ["proxy", "explicit", { host: "127.0.0.1", port: 8888 }],
      ["proxy-2", "explicit", { host: "::1", port: 9999 }],
    ],
  );
  assert.deepEqual(
    config.feeds.map(({ kind }) => kind),
    ["http"],
  );
  const rules = config.policy.rules.map(({ name, action, match: { host, server, fault } }) => {
    return [name, action, host ?? server, fault?.includes("selfSigned"), fault?.includes("revoked")];
  });
  assert.deepEqual(rules, [
    ["--bypass", "bypass", ["*.bank.example"], undefined, undefined],
    ["--bypass address", "bypass", ["10.0.0.0/8"], undefined, undefined],
    ["--insecure", "decrypt", ["dev.example"], true, false],
    ["--insecure address", "decrypt", ["127.0.0.1"], true, false],
  ]);
});

test("A port forward needs only its server, and without options there is the default", async () => {
  const { config } = await load({ listen: ["0.0.0.0:8443"], mode: "forward:10.0.0.5:443" });
  assert.partialDeepStrictEqual(config.listeners, [
    { name: "forward", mode: "forward", server: { host: "10.0.0.5", port: 443 } },
  ]);
  const { listeners, feeds, policy } = (await load({})).config;
  assert.partialDeepStrictEqual(listeners, [{ name: "proxy", address: { host: "127.0.0.1", port: 8080 } }]);
  assert.deepEqual([feeds.length, policy.rules.length, policy.page?.signedBy], [2, 0, "primary"]);
});

const MISTAKES: readonly (readonly [Flags, RegExp])[] = [
  [{ listen: ["99999"] }, /^--listen is "127.0.0.1:99999": the port 99999 is not between 1 and 65535$/],
  [{ listen: ["8080", "here"] }, /^--listen is "here", not a host and a port/],
  [{ listen: ["8080", "8080"] }, /^--listen /],
  [{ mode: "inline" }, /^--mode is "inline", neither explicit nor forward:HOST:PORT; an inline listener needs a file/],
  [{ mode: "forward" }, /^--mode is "forward", neither/],
  [{ mode: "forward:443" }, /^--mode is "443", not a host and a port/],
  [{ trust: ["/nowhere.pem"] }, /^--trust is "\/nowhere.pem", but \/nowhere.pem does not exist$/],
  [{ bypass: ["a..b"] }, /^--bypass is "a..b", neither a host name/],
  [{ bypass: ["a.b"], insecure: ["https://a.b/"] }, /^--insecure is "https:\/\/a.b\/", neither a host name/],
];
for (const [flags, message] of MISTAKES) {
  test(`A mistake is found, and its option named: ${JSON.stringify(flags)}`, async () => {
    await assert.rejects(load(flags), ({ errors }: AggregateError) => {
      assert.equal(errors.length, 1, String(errors));
      assert.match(errors[0].message, message);
      return true;
    });
  });
}

test("What goes wrong later names the option too, and without it the place in the default", async () => {
  const error = new ConfigError("listeners[0].address", "Cannot listen at 127.0.0.1:80 (listeners[0].address)");
  const named = (await withPlaces(undefined, error, { listen: ["80"] })) as AggregateError;
  assert.equal(named.errors[0].message, "Cannot listen at 127.0.0.1:80 (--listen)");
  const unnamed = (await withPlaces(undefined, error)) as AggregateError;
  assert.equal(unnamed.errors[0].message, error.message);
});
