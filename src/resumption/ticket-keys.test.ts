import assert from "node:assert/strict";
import { test } from "node:test";
import { makeTicketKey, rotateTicketKeys, type TicketKeys, ticketKeyFor } from "./ticket-keys.ts";

const ticketOf = (key: Uint8Array) => Buffer.concat([key.subarray(0, 16), Buffer.alloc(100)]);

test("Tickets are made with the newest key and opened with that or the one before", () => {
  const [first, second, third] = [makeTicketKey(), makeTicketKey(), makeTicketKey()];
  let keys: TicketKeys = [first];
  assert.equal(ticketKeyFor(keys, undefined), first);
  keys = rotateTicketKeys(keys, second);
  assert.equal(ticketKeyFor(keys, undefined), second);
  assert.equal(ticketKeyFor(keys, ticketOf(first)), first);
  keys = rotateTicketKeys(keys, third);
  assert.equal(ticketKeyFor(keys, ticketOf(first)), third);
  assert.equal(keys.length, 2);
});

test("Without ticket keys no ticket has a key", () => {
  assert.equal(ticketKeyFor([], ticketOf(makeTicketKey())), undefined);
});

test("A ticket that is too short or unknown gets the newest key", () => {
  const keys = [makeTicketKey(), makeTicketKey()];
  assert.equal(ticketKeyFor(keys, keys[1]!.subarray(0, 15)), keys[0]);
  assert.equal(ticketKeyFor(keys, Buffer.alloc(32)), keys[0]);
});
