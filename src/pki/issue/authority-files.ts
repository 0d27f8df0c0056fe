import { createPrivateKey, generateKeyPair, type KeyObject, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { readSigningKey } from "../keys/private-key.ts";
import { exists, moveSecret, readSecret, writeSecret } from "../keys/secret-file.ts";
import type { Vault } from "../keys/vault.ts";
import {
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  issueCertificate,
  KEY_USAGE,
  keyIdentifier,
  OID,
  publicKeyOf,
  randomSerial,
  toPem,
} from "../x509/certificate.ts";
import { encode, TAG } from "../x509/der.ts";
import { CLOCK_SKEW } from "./mirror.ts";

/** The primary CA signs for servers whose certificate was valid; the secondary, which clients must not trust, for the rest. */
export type Role = "primary" | "secondary";

/** A CA of the node's own as it lies on the disk; that certificate and key belong together is for the reader to check. */
export interface AuthorityFiles {
  readonly certificatePath: string;
  readonly certificatePem: string;
  readonly key: KeyObject;
}

export interface FileContext {
  /** How the private keys lie on the disk. */
  readonly vault: Vault;
  /** Hears of what was repaired or renewed. */
  readonly notice: (text: string) => void;
}

/**
 * Reads `<base>.pem` and `<base>.key`, making first what is missing of them.
 *
 * The key's name is taken first, and the certificate follows from the key. So whoever comes second, or comes back
 * after a crash between the two, finds a key to which only one certificate can be added: pairs never mix.
 * Throws ConfigError, naming the file.
 */
export async function readOrMakeFiles(
  base: string,
  role: Role,
  keyType: KeyType,
  now: number,
  { vault, notice }: FileContext,
): Promise<AuthorityFiles> {
  const [certificatePath, keyPath] = [`${base}.pem`, `${base}.key`];
  if (!(await exists(certificatePath))) {
    if (!(await exists(keyPath))) await writeSecret(keyPath, vault.seal(await makeKey(keyType)), true);
    const { keyPem } = vault.open(keyPath, (await readSecret(keyPath, notice)) ?? "");
    const { key } = readSigningKey(keyPath, keyPem);
    await writeSecret(certificatePath, await makeCertificate(role, keyType, key, now), true);
  }
  const sealed = await readSecret(keyPath, notice);
  if (sealed === undefined) {
    throw new ConfigError(
      keyPath,
      `Cannot read ${keyPath}: no such file. Restore it, or remove ${certificatePath} too`,
    );
  }
  const certificatePem = (await readSecret(certificatePath, notice)) ?? "";
  const { keyPem, stale } = vault.open(keyPath, sealed);
  const { key } = readSigningKey(keyPath, keyPem);
  if (stale) {
    await writeSecret(keyPath, vault.seal(keyPem), false);
    notice(`The private key in ${keyPath} was written anew, as keyStore says`);
  }
  return { certificatePath, certificatePem, key };
}

/**
 * Makes a new pair and keeps the old files as `….old-<time>`.
 *
 * The old certificate goes first: a crash anywhere leaves a key alone or nothing, which the next start completes.
 */
export async function replaceFiles(
  base: string,
  role: Role,
  keyType: KeyType,
  now: number,
  { vault }: Pick<FileContext, "vault">,
): Promise<void> {
  const keyPem = await makeKey(keyType);
  const certificatePem = await makeCertificate(role, keyType, createPrivateKey(keyPem), now);
  const suffix = `.old-${new Date(now).toISOString().replaceAll(/[-:]/g, "")}`;
  await moveSecret(`${base}.pem`, `${base}.pem${suffix}`);
  await moveSecret(`${base}.key`, `${base}.key${suffix}`);
  await writeSecret(`${base}.key`, vault.seal(keyPem), false);
  await writeSecret(`${base}.pem`, certificatePem, false);
}

/** Encrypts the keys of CAs that were replaced, too. One that the vault cannot open is nobody's concern any more. */
export async function sealOldFiles(directory: string, { vault, notice }: FileContext): Promise<void> {
  for (const name of (await readdir(directory)).filter((file) => /\.key\.old-/.test(file))) {
    const path = join(directory, name);
    const sealed = (await readSecret(path, notice)) ?? "";
    try {
      const { keyPem, stale } = vault.open(path, sealed);
      if (stale && sealed !== "") await writeSecret(path, vault.seal(keyPem), false);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
    }
  }
}

const generate = promisify(generateKeyPair);

async function makeKey(keyType: KeyType): Promise<string> {
  const { privateKey } =
    keyType === "ecdsa"
      ? await generate("ec", { namedCurve: "P-256" })
      : await generate("rsa", { modulusLength: 2048, publicExponent: 65537 });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** Ten years. */
const LIFETIME = 3650 * 24 * 3600 * 1000;

/** A self-signed CA certificate: RFC 5280, section 4.2.1.9. It may sign servers' certificates, but no further CA. */
async function makeCertificate(role: Role, keyType: KeyType, key: KeyObject, now: number): Promise<string> {
  const publicKey = publicKeyOf(key);
  const id = randomBytes(4).toString("hex");
  const title = role === "primary" ? "Clearline Primary CA" : "Clearline Secondary CA untrusted: do not install";
  const name = encodeName([
    [OID.organization, "Clearline"],
    // RFC 5280, appendix A.1: at most 64 characters.
    [OID.organizationalUnit, hostname().slice(0, 64) || "node"],
    // Two nodes of one name must not make CAs of one name: a client that holds both could not tell them apart.
    [OID.commonName, `${title} ${keyType.toUpperCase()} ${id}`],
  ]);
  const limits = encode(TAG.sequence, encode(TAG.boolean, Buffer.from([0xff])), encode(TAG.integer, Buffer.from([0])));
  const der = await issueCertificate(
    {
      serial: randomSerial(),
      issuer: name,
      subject: name,
      notBefore: now - CLOCK_SKEW,
      notAfter: now + LIFETIME,
      publicKey,
      extensions: [
        encodeExtension(OID.basicConstraints, true, limits),
        encodeExtension(OID.keyUsage, true, encodeKeyUsage(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign)),
        encodeExtension(OID.subjectKeyIdentifier, false, encode(TAG.octetString, keyIdentifier(publicKey))),
      ],
    },
    key,
  );
  return toPem(der);
}
