import { randomBytes } from "node:crypto";
import { isIP } from "node:net";
import { dirname } from "node:path";
import { ConfigError } from "../errors.ts";
import { makeSecretFolder, readSecret, writeSecret } from "../pki/keys/secret-file.ts";

/**
 * The bearer token of the API: read from `file`, or made there on the first start, 32 random bytes. `notice` is called
 * when other users could read it. Throws ConfigError when the file can neither be read nor made, or holds no usable token.
 */
export async function openToken(file: string, notice: (text: string) => void): Promise<string> {
  // The workers' group may pass through the data folder.
  await makeSecretFolder(dirname(file), 0o710);
  const token = ((await readSecret(file, notice)) ?? (await makeToken(file, notice))).trim();
  if (/^[\w-]{32,}$/.test(token)) return token;
  throw new ConfigError(
    file,
    `Cannot use the token in ${file}: it must be 32 or more letters, digits, "-" or "_". Remove the file to get a new one`,
  );
}

/** If another node makes the file first, this node uses its token. */
async function makeToken(file: string, notice: (text: string) => void): Promise<string> {
  await writeSecret(file, `${randomBytes(32).toString("base64url")}\n`, true);
  return (await readSecret(file, notice)) ?? "";
}

/** The token that an Authorization header carries (RFC 6750, section 2.1). */
export function bearerOf(header: string | undefined): string | undefined {
  return /^Bearer ([\w-]{1,256})$/i.exec(header ?? "")?.[1];
}

/**
 * Whether a request with this Host header may reach a node on a loopback address. A name other than "localhost" is that of a
 * web site, which DNS rebinding made lead to this machine.
 */
export function isLocalHost(header: string | undefined): boolean {
  const host = header?.replace(/:\d{1,5}$/, "").toLowerCase();
  if (host === undefined) return false;
  return host === "localhost" || isIP(host.replace(/^\[(.*)\]$/, "$1")) !== 0;
}
