import assert from "node:assert/strict";
import { test } from "node:test";
import { ownerOf } from "./owner.ts";

test("A client is an IPv4 address in any notation, or a /64 of IPv6", () => {
  assert.equal(ownerOf("::ffff:192.0.2.1"), ownerOf("192.0.2.1"));
  assert.equal(ownerOf("2001:db8::1%eth0"), ownerOf("2001:db8::2"));
  assert.notEqual(ownerOf("2001:db8::1"), ownerOf("2001:db8:0:1::1"));
});
