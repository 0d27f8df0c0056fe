import { type KeyObject, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { makePrivateKey, privateKeyPem, readSigningKey } from "../keys/private-key.ts";
import { exists, moveSecret, readSecret, writeSecret } from "../keys/secret-file.ts";
import type { Vault } from "../keys/vault.ts";
import { KEY_USAGE } from "../x509/certificate.ts";
import {
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  issueCertificate,
  randomSerial,
} from "../x509/certificate-writing.ts";
import { encode, encodeInteger, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { toPem } from "../x509/pem.ts";
import { keyIdentifier, publicKeyOf } from "../x509/public-key.ts";
import { CLOCK_SKEW } from "./mirror.ts";

/**
 * The primary CA signs for servers with a valid certificate. The secondary signs for the others; clients must not trust
 * it.
 */
export type Role = "primary" | "secondary";

/** A CA that the node makes: its files are `<base>.pem` and `<base>.key`. */
export interface OwnAuthority {
  readonly base: string;
  readonly role: Role;
  readonly keyType: KeyType;
}

/** The contents of both files. The caller checks that certificate and key belong together. */
export interface AuthorityFiles {
  readonly certificatePath: string;
  readonly certificatePem: string;
  readonly key: KeyObject;
}

export interface FileContext {
  /** Encrypts the private keys. */
  readonly vault: Vault;
  /** Receives messages about repairs and renewals. */
  readonly notice: (text: string) => void;
}

/**
 * Reads both files of a CA and makes those that are missing. Throws ConfigError with the file's path.
 *
 * The key is written first, and the certificate is made for the key in the file. So a second node that starts at the
 * same time, or a start after a crash between the two, never ends with a certificate for another key.
 */
export async function readOrMakeFiles(
  own: OwnAuthority,
  now: number,
  { vault, notice }: FileContext,
): Promise<AuthorityFiles> {
  const [certificatePath, keyPath] = [`${own.base}.pem`, `${own.base}.key`];
  if (!(await exists(certificatePath))) {
    if (!(await exists(keyPath))) {
      await writeSecret(keyPath, vault.seal(privateKeyPem(await makePrivateKey(own.keyType))), true);
    }
    const { keyPem } = vault.open(keyPath, (await readSecret(keyPath, notice)) ?? "");
    const { key } = readSigningKey(keyPath, keyPem);
    await writeSecret(certificatePath, await makeCertificate(own, key, now), true);
  }
  const sealed = await readSecret(keyPath, notice);
  if (sealed === undefined) {
    const why = `no such file. Restore it, or remove ${certificatePath} too`;
    throw new ConfigError(keyPath, `Cannot read ${keyPath}: ${why}`);
  }
  const certificatePem = (await readSecret(certificatePath, notice)) ?? "";
  const { keyPem, stale } = vault.open(keyPath, sealed);
  const { key } = readSigningKey(keyPath, keyPem);
  if (stale) {
    await writeSecret(keyPath, vault.seal(keyPem), false);
    notice(`Rewrote the private key in ${keyPath}, as keyStore requires`);
  }
  return { certificatePath, certificatePem, key };
}

/**
 * Makes a new key and certificate and keeps the old files as `….old-<time>`.
 *
 * The old certificate is renamed first: a crash at any point leaves only a key or no files, and the next start makes
 * what is missing.
 */
export async function replaceFiles(
  own: OwnAuthority,
  now: number,
  { vault }: Pick<FileContext, "vault">,
): Promise<void> {
  const key = await makePrivateKey(own.keyType);
  const certificatePem = await makeCertificate(own, key, now);
  const suffix = `.old-${new Date(now).toISOString().replaceAll(/[-:]/g, "")}`;
  await moveSecret(`${own.base}.pem`, `${own.base}.pem${suffix}`);
  await moveSecret(`${own.base}.key`, `${own.base}.key${suffix}`);
  await writeSecret(`${own.base}.key`, vault.seal(privateKeyPem(key)), false);
  await writeSecret(`${own.base}.pem`, certificatePem, false);
}

/** Encrypts the keys of CAs that were replaced. Skips those that the vault cannot open, which nothing uses any more. */
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

/** Ten years. */
const LIFETIME = 3650 * 24 * 3600 * 1000;

/** A self-signed CA certificate: RFC 5280, section 4.2.1.9. It may sign servers' certificates, but no further CA. */
async function makeCertificate({ role, keyType }: OwnAuthority, key: KeyObject, now: number): Promise<string> {
  const publicKey = publicKeyOf(key);
  const id = randomBytes(4).toString("hex");
  const title = role === "primary" ? "Clearline Primary CA" : "Clearline Secondary CA untrusted: do not install";
  const name = encodeName([
    [OID.organization, "Clearline"],
    // RFC 5280, appendix A.1: at most 64 characters.
    [OID.organizationalUnit, hostname().slice(0, 64) || "node"],
    // The id keeps the CAs of two nodes with the same host name apart for a client that trusts both.
    [OID.commonName, `${title} ${keyType.toUpperCase()} ${id}`],
  ]);
  const limits = encode(TAG.sequence, encode(TAG.boolean, Buffer.from([0xff])), encodeInteger(Buffer.from([0])));
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
