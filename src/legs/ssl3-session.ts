import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import { ServerSessions } from "../resumption/server-sessions.ts";
import type { SavedSession } from "../ssl3/connection.ts";
import type { ServerResumption, Ssl3Session } from "./server-session.ts";

/** Where an SSL 3.0 client leg finds and stores its session: RFC 6101, section 5.5. */
export interface SessionPlace {
  readonly sessions: SessionKeeper;
  /** What must be the same in both sessions. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}

/** Keeps the names apart from those of OpenSSL's sessions with the same peers. */
const KIND = "SSLv3";

/** `name`: the session's identifier. */
export async function findSession({ sessions, bond }: SessionPlace, name: string): Promise<SavedSession | undefined> {
  const bytes = await sessions.find([...bond, KIND, name], Date.now());
  return bytes && readSession(bytes);
}

export function storeSession({ sessions, bond, timeout }: SessionPlace, name: string, session: SavedSession): void {
  const until = Date.now() + timeout;
  sessions.put([...bond, KIND, name], writeSession(session), until);
}

export function forgetSession({ sessions, bond }: SessionPlace, name: string): void {
  sessions.forget([...bond, KIND, name]);
}

/** The session with one server, for one offer. */
export class Ssl3Memory {
  readonly #place: ServerResumption;
  readonly #name: string;

  constructor(place: ServerResumption, offer: string) {
    this.#place = place;
    this.#name = ServerSessions.nameOf([...place.bond, KIND, offer]);
  }

  find(): Ssl3Session | undefined {
    const found = this.#place.sessions.find(this.#name, Date.now());
    return found?.kind === "ssl3" ? found : undefined;
  }

  /** `before`: the session that was resumed. The stored session expires with it. */
  keep(session: SavedSession, before: Ssl3Session | undefined): void {
    const { sessions, timeout } = this.#place;
    const until = before?.until ?? Date.now() + timeout;
    const bytes = session.certificates.reduce((sum, { length }) => sum + length, SECRETS);
    sessions.put(this.#name, { kind: "ssl3", session, until, bytes, release() {} }, until);
  }

  forget(): void {
    this.#place.sessions.forget(this.#name);
  }
}

/** Of a session without its certificates, in bytes. */
const SECRETS = 256;

interface SerializedSession {
  readonly id: string;
  readonly suite: number;
  readonly master: string;
  readonly certificates: readonly string[];
}

function writeSession({ id, suite, master, certificates }: SavedSession): Buffer {
  const text = (bytes: Buffer) => bytes.toString("base64");
  const written: SerializedSession = {
    id: text(id),
    suite,
    master: text(master),
    certificates: certificates.map(text),
  };
  return Buffer.from(JSON.stringify(written));
}

/** `bytes` need no checks: they were sealed by this node or by one that shares its secret. */
function readSession(bytes: Uint8Array): SavedSession {
  const { id, suite, master, certificates } = JSON.parse(Buffer.from(bytes).toString()) as SerializedSession;
  const read = (text: string) => Buffer.from(text, "base64");
  return { id: read(id), suite, master: read(master), certificates: certificates.map(read) };
}
