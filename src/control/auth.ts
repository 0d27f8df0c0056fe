import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { dirname } from "node:path";
import { ConfigError } from "../errors.ts";

/**
 * The bearer token of the API: read from `file`, or made there on the first start, 32 random bytes with mode 0600.
 * Throws ConfigError when the file can neither be read nor made, or holds no usable token.
 */
export function openToken(file: string): string {
  try {
    const token = readToken(file) ?? makeToken(file);
    if (!/^[\w-]{32,}$/.test(token)) throw new Error("it is not a token: remove the file, and a new one is made");
    return token;
  } catch (error) {
    throw new ConfigError("dataDir", `Cannot use the token file ${file}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function readToken(file: string): string | undefined {
  try {
    const token = readFileSync(file, "utf8").trim();
    chmodSync(file, 0o600);
    return token;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** The link makes it appear whole or not at all; when another node was first, its token holds. */
function makeToken(file: string): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flag: "wx" });
  try {
    linkSync(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft);
  }
  return readFileSync(file, "utf8").trim();
}

/** Does this Authorization header carry the token (RFC 6750, section 2.1)? The time taken tells nothing of the token. */
export function isAuthorized(header: string | undefined, token: string): boolean {
  const given = /^Bearer ([\w-]+)$/i.exec(header ?? "")?.[1];
  return given !== undefined && timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/**
 * May a request that names this host reach a node on a loopback address? A name that is not "localhost" is some web
 * site's, pointed at this machine by DNS rebinding.
 */
export function isLocalHost(header: string | undefined): boolean {
  const host = header?.replace(/:\d{1,5}$/, "").toLowerCase();
  if (host === undefined) return false;
  return host === "localhost" || isIP(host.replace(/^\[(.*)\]$/, "$1")) !== 0;
}

/** Is this a listening address that only this machine reaches? */
export function isLoopback(address: string): boolean {
  return address === "localhost" || address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}
