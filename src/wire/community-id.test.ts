import assert from "node:assert/strict";
import { test } from "node:test";
import { communityId } from "./community-id.ts";

const at = (address: string, port: number) => ({ address, port });

test("The Community ID is that of the specification's example, in both directions", () => {
  const [client, server] = [at("128.232.110.120", 34855), at("66.35.250.204", 80)];
  assert.equal(communityId(client, server), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
  assert.equal(communityId(server, client), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
});

test("Two ends of one address are ordered by their ports, as numbers", () => {
  const [one, other] = [at("192.0.2.1", 255), at("192.0.2.1", 256)];
  assert.equal(communityId(one, other), communityId(other, one));
});

test("An IPv4-mapped address is the IPv4 address; another spelling of an IPv6 address changes nothing", () => {
  const server = at("66.35.250.204", 80);
  assert.equal(communityId(at("::ffff:128.232.110.120", 34855), server), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
  const [short, long] = ["2001:db8::1", "2001:0DB8:0:0::0001"].map((address) =>
    communityId(at(address, 1), at("2001:db8::2", 2)),
  );
  assert.equal(short, long);
});

test("What is not an address has no Community ID", () => {
  assert.equal(communityId(at("", 0), at("192.0.2.1", 443)), undefined);
  assert.equal(communityId(at("192.0.2.1", 443), at("host.example", 443)), undefined);
});
