import { randomBytes } from "node:crypto";

/** The keys that tickets are made with, newest first: the first one makes them, the others only open what they made. */
export type TicketKeys = readonly Uint8Array[];

/** OpenSSL's three in one: 16 bytes of name, which stand at the head of every ticket, then an HMAC key and an AES key. */
const KEY_BYTES = 48;
const NAME_BYTES = 16;
/** A ticket made just before the turn must live its time. */
const KEPT = 2;

export function makeTicketKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/** After a turn: the oldest key is gone, and nothing that it sealed can be opened any more. */
export function turnTicketKeys(keys: TicketKeys, next: Uint8Array): TicketKeys {
  return [next, ...keys].slice(0, KEPT);
}

/** The key that opens this ticket, or the one for a client that brought none, or one that is too old. */
export function ticketKeyFor(keys: TicketKeys, ticket: Uint8Array | undefined): Uint8Array | undefined {
  const name = ticket && Buffer.from(ticket.subarray(0, NAME_BYTES));
  return keys.find((key) => name?.equals(key.subarray(0, NAME_BYTES))) ?? keys[0];
}
