import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { networkInterfaces } from "node:os";
import { test } from "node:test";
import { within } from "./netns.ts";
import { isOwnAddress } from "./own-addresses.ts";
import { needsNamespaces, routedNetwork } from "./test-network.ts";

test("Loopback, the unspecified address and the interfaces' addresses are this machine's, in every notation", () => {
  const listed = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  const spelt = ["127.0.0.1", "127.255.0.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::ffff:0:0", "::ffff:7f00:1"];
  for (const address of [...spelt, ...listed]) assert.equal(isOwnAddress(address), true, address);
  for (const address of ["192.0.2.77", "8.8.8.8", "2001:db8::77", "fe80::dead:77%lo"])
    assert.equal(isOwnAddress(address), false, address);
});

test("So are addresses without a carrier, and subnets that are routed to the machine", needsNamespaces(), () => {
  using network = routedNetwork();
  const { node } = network;
  const ip = (...args: string[]) => execFileSync("ip", ["-n", node, ...args]);
  ip("link", "add", "dark", "type", "veth", "peer", "name", "unplugged");
  ip("addr", "add", "10.9.0.1/24", "dev", "dark");
  ip("link", "set", "dark", "up");
  ip("route", "add", "local", "10.77.0.0/16", "dev", "lo");
  ip("route", "add", "local", "fd77::/64", "dev", "lo");
  const own = (address: string) => within(node, () => isOwnAddress(address));
  for (const address of ["10.1.0.1", "fd00:2::1", "10.9.0.1", "10.77.3.4", "fd77::5"])
    assert.equal(own(address), true, address);
  for (const address of ["10.1.0.2", "fd00:2::2", "10.9.0.2", "10.78.0.1"]) assert.equal(own(address), false, address);
});
