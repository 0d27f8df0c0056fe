import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** A log-in that has begun at the provider. */
export interface Pending {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  /** Where the provider sends the browser back to. */
  readonly redirect: string;
  /** The place of the console to go on to. */
  readonly to: string;
  /** ms since the epoch. */
  readonly until: number;
}

const CIPHER = "aes-256-gcm";
const NONCE = 12;
const TAG = 16;

/**
 * Keeps log-ins that have begun in the browser's own cookie, sealed: the node remembers nothing of those who never come back, so
 * strangers cannot fill it, and nobody finishes what another browser began.
 */
export class PendingLogins {
  readonly #key = randomBytes(32);

  seal(pending: Pending): string {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv(CIPHER, this.#key, nonce);
    const sealed = Buffer.concat([cipher.update(JSON.stringify(pending)), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64url");
  }

  /** Undefined: this node has not sealed it since its start, or it is over. */
  open(text: string, now: number): Pending | undefined {
    const bytes = Buffer.from(text, "base64url");
    if (bytes.length <= NONCE + TAG) return undefined;
    try {
      const opener = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE), { authTagLength: TAG });
      opener.setAuthTag(bytes.subarray(NONCE, NONCE + TAG));
      const content = Buffer.concat([opener.update(bytes.subarray(NONCE + TAG)), opener.final()]);
      const pending = JSON.parse(content.toString()) as Pending;
      return now < pending.until ? pending : undefined;
    } catch {
      return undefined;
    }
  }
}

/** The place of the console that a log-in leads to. Whatever would lead elsewhere leads to the first page. */
export function placeIn(to: string | undefined): string {
  const url = to?.startsWith("/") ? URL.parse(to, ELSEWHERE) : null;
  if (url?.origin !== ELSEWHERE || url.pathname.startsWith("//")) return "/";
  return url.pathname + url.search + url.hash;
}

const ELSEWHERE = "http://node.invalid";
