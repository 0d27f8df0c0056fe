import { randomBytes } from "node:crypto";

/** The keys of session tickets, newest first. The first one makes tickets and opens them; the others only open. */
export type TicketKeys = readonly Uint8Array[];

/** As OpenSSL takes them: a name of 16 bytes, which every ticket begins with, an HMAC key and an AES key. */
const KEY_BYTES = 48;
const NAME_BYTES = 16;
/** A ticket that was made just before a rotation can still be opened after it. */
const MOST_KEYS = 2;

export function makeTicketKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/** Adds a key and drops the oldest: its tickets cannot be opened any more. */
export function rotateTicketKeys(keys: TicketKeys, next: Uint8Array): TicketKeys {
  return [next, ...keys].slice(0, MOST_KEYS);
}

/** The key that opens this ticket. Without a ticket, or with one that is too old, the newest key. */
export function ticketKeyFor(keys: TicketKeys, ticket: Uint8Array | undefined): Uint8Array | undefined {
  const name = ticket && Buffer.from(ticket.subarray(0, NAME_BYTES));
  return keys.find((key) => name?.equals(key.subarray(0, NAME_BYTES))) ?? keys[0];
}
