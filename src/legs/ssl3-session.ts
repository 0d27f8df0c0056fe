import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { SavedSession } from "../ssl3/connection.ts";

/** Where an SSL 3.0 leg finds and stores its session: RFC 6101, section 5.5. */
export interface SessionPlace {
  readonly sessions: SessionKeeper;
  /** What must be the same in both sessions. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/** Keeps the names apart from those of OpenSSL's sessions with the same peers. */
const KIND = "SSLv3";

/** `name` tells the sessions with the same bond apart. */
export async function findSession({ sessions, bond }: SessionPlace, name: string): Promise<StoredSession | undefined> {
  const bytes = await sessions.find([...bond, KIND, name], Date.now());
  return bytes && readSession(bytes);
}

/** `before`: the session that was resumed. The stored session expires with it. */
export function storeSession(
  { sessions, bond, timeout }: SessionPlace,
  name: string,
  session: SavedSession,
  before: StoredSession | undefined,
): void {
  const until = before?.until ?? Date.now() + timeout;
  sessions.put([...bond, KIND, name], writeSession({ session, until }), until);
}

export function forgetSession({ sessions, bond }: SessionPlace, name: string): void {
  sessions.forget([...bond, KIND, name]);
}

export interface StoredSession {
  readonly session: SavedSession;
  /** ms since the epoch. */
  readonly until: number;
}

interface SerializedSession {
  readonly id: string;
  readonly suite: number;
  readonly master: string;
  readonly certificates: readonly string[];
  readonly until: number;
}

function writeSession({ session: { id, suite, master, certificates }, until }: StoredSession): Buffer {
  const text = (bytes: Buffer) => bytes.toString("base64");
  const written: SerializedSession = {
    id: text(id),
    suite,
    master: text(master),
    certificates: certificates.map(text),
    until,
  };
  return Buffer.from(JSON.stringify(written));
}

/** `bytes` need no checks: they were sealed by this node or by one that shares its secret. */
function readSession(bytes: Uint8Array): StoredSession {
  const { id, suite, master, certificates, until } = JSON.parse(Buffer.from(bytes).toString()) as SerializedSession;
  const read = (text: string) => Buffer.from(text, "base64");
  return { session: { id: read(id), suite, master: read(master), certificates: certificates.map(read) }, until };
}
