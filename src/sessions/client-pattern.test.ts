import assert from "node:assert/strict";
import { test } from "node:test";
import { compileClient } from "./client-pattern.ts";

/** A query, the clients that it finds, and those that it does not. */
const QUERIES: readonly (readonly [query: string, found: readonly string[], others: readonly string[]])[] = [
  ["10.9.0.4", ["10.9.0.4", "::ffff:10.9.0.4"], ["10.9.0.5", "::a09:4", "2001:db8::1"]],
  ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "a00::", "::"]],
  ["10.9.8.7/8", ["10.1.2.3"], ["11.0.0.1"]],
  ["192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]],
  ["0.0.0.0/0", ["255.255.255.255"], ["2001:db8::1"]],
  ["2001:DB8:0::1", ["2001:db8::1"], ["2001:db8::2", "10.0.0.1"]],
  ["2001:db8::/32", ["2001:db8::1", "2001:db8:ffff::"], ["2001:db9::1", "10.0.0.1"]],
  ["::/0", ["2001:db8::1", "fe80::1%eth0"], ["10.0.0.1", "::ffff:10.0.0.1"]],
  ["fe80::1", ["fe80::1%eth0"], ["fe80::2%eth0"]],
  ["::ffff:10.0.0.0/104", ["10.1.2.3"], ["11.0.0.0"]],
];
test("A query finds the addresses of its subnet, however they are written", () => {
  for (const [query, found, others] of QUERIES) {
    const pattern = compileClient(query);
    for (const address of found) assert.ok(pattern?.matches(address), `${query} finds ${address}`);
    for (const address of others) assert.ok(pattern?.matches(address) === false, `${query} does not find ${address}`);
  }
});

test("The one address of a query is in every form that a record can have", () => {
  assert.deepEqual(compileClient("10.9.0.4")?.addresses, ["10.9.0.4", "::ffff:10.9.0.4"]);
  assert.deepEqual(compileClient("2001:DB8:0:0::1")?.addresses, ["2001:db8::1"]);
  assert.equal(compileClient("10.0.0.0/8")?.addresses, undefined);
});

test("What is neither an address nor a subnet is refused", () => {
  const wrong = ["", "www", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "::/129"];
  for (const query of [...wrong, "10.0.0.0/-1", "10.0.0.0/a", "::ffff:10.0.0.0/90", "/8"]) {
    assert.equal(compileClient(query), undefined, query);
  }
});
