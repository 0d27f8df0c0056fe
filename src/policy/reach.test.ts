import assert from "node:assert/strict";
import { test } from "node:test";
import { compileReach, leadsTo, type Target } from "./reach.ts";

const OWN = ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "10.0.0.1", "fd00::1", "fe80::1"];

function to(address: string, port = 80): Target {
  return { address, port, isOwn: () => OWN.includes(address) };
}

test("A listener reaches the classes, addresses and subnets that are open to it, and every address that is none of these", () => {
  const reach = compileReach({
    listeners: { closed: [], all: ["all"], own: ["own", "127.0.0.0/30"], near: ["linkLocal", "loopback"] },
  });
  const refused = (listener: string) =>
    [...OWN, "169.254.1.1", "fe80::2", "192.0.2.1", "2001:db8::1"].filter((address) => reach(listener, to(address)));
  assert.deepEqual(refused("closed"), [...OWN, "169.254.1.1", "fe80::2"]);
  assert.deepEqual([refused("all"), refused("a forward listener")], [[], []]);
  assert.deepEqual(refused("own"), ["127.9.9.9", "::", "::1", "fe80::1", "169.254.1.1", "fe80::2"]);
  assert.deepEqual(refused("near"), ["10.0.0.1", "fd00::1"]);
  const { action, phase, rule, reason } = reach("closed", to("10.0.0.1"))!;
  assert.deepEqual([action, phase, rule], ["drop", "network", "reach"]);
  assert.equal(reason, "10.0.0.1 is an address of this machine, which the listener closed does not reach (reach)");
});

test("A place is reached by every address that the kernel delivers to its socket, and by no other port", () => {
  const reached = (addresses: readonly string[]) =>
    [...OWN, "192.0.2.1"].filter((address) => leadsTo({ port: 80, addresses }, to(address)));
  assert.deepEqual(reached(["127.0.0.1"]), ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"]);
  assert.deepEqual(reached(["::1"]), ["::", "::1"]);
  assert.deepEqual(reached(["10.0.0.1"]), ["10.0.0.1"]);
  assert.deepEqual(reached(["0.0.0.0"]), ["127.0.0.1", "127.9.9.9", "0.0.0.0", "::ffff:127.0.0.1", "10.0.0.1"]);
  assert.deepEqual(reached(["::"]), OWN);
  // A tool or store on another machine.
  assert.deepEqual(reached(["192.0.2.1"]), ["192.0.2.1"]);
  assert.equal(leadsTo({ port: 81, addresses: ["::"] }, to("127.0.0.1")), false);
});
