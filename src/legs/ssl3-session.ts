import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { SavedSession } from "../ssl3/connection.ts";

/** Where a leg of SSL 3.0 looks for a session and puts it: RFC 6101, section 5.5. */
export interface SessionPlace {
  readonly sessions: SessionKeeper;
  /** All that must be the same when it is resumed. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/** OpenSSL's sessions of the same peers are another thing, and stand elsewhere. */
const KIND = "SSLv3";

/** `name`: which of those with this bond. */
export async function findSession({ sessions, bond }: SessionPlace, name: string): Promise<KeptSession | undefined> {
  const bytes = await sessions.find([...bond, KIND, name], Date.now());
  return bytes && readSession(bytes);
}

/** `before`: the session that it was resumed from, which does not live longer for it. */
export function keepSession(
  { sessions, bond, timeout }: SessionPlace,
  name: string,
  session: SavedSession,
  before: KeptSession | undefined,
): void {
  const until = before?.until ?? Date.now() + timeout;
  sessions.put([...bond, KIND, name], writeSession({ session, until }), until);
}

export function forgetSession({ sessions, bond }: SessionPlace, name: string): void {
  sessions.forget([...bond, KIND, name]);
}

export interface KeptSession {
  readonly session: SavedSession;
  /** ms since the epoch. */
  readonly until: number;
}

interface Written {
  readonly id: string;
  readonly suite: number;
  readonly master: string;
  readonly certificates: readonly string[];
  readonly until: number;
}

function writeSession({ session: { id, suite, master, certificates }, until }: KeptSession): Buffer {
  const text = (bytes: Buffer) => bytes.toString("base64");
  const written: Written = { id: text(id), suite, master: text(master), certificates: certificates.map(text), until };
  return Buffer.from(JSON.stringify(written));
}

/** `bytes` were this node's own: no stranger could have written them. */
function readSession(bytes: Uint8Array): KeptSession {
  const { id, suite, master, certificates, until } = JSON.parse(Buffer.from(bytes).toString()) as Written;
  const read = (text: string) => Buffer.from(text, "base64");
  return { session: { id: read(id), suite, master: read(master), certificates: certificates.map(read) }, until };
}
