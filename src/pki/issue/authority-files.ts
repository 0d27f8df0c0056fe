import { type KeyObject, randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { makePrivateKey, privateKeyPem, readSigningKey } from "../keys/private-key.ts";
import { readSecret, removeSecret, renameSecret, writeSecret } from "../keys/secret-file.ts";
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

/** Reads both files of a CA. Undefined: neither is there. Throws ConfigError with the file's path, also when only one is there. */
export async function readFiles(
  own: OwnAuthority,
  { vault, notice }: FileContext,
): Promise<AuthorityFiles | undefined> {
  const [certificatePath, keyPath] = [`${own.base}.pem`, `${own.base}.key`];
  const certificatePem = await readSecret(certificatePath, notice);
  const sealed = await readSecret(keyPath, notice);
  if (certificatePem === undefined || sealed === undefined) {
    await refuseLost(own, certificatePem === undefined ? certificatePath : keyPath);
    return undefined;
  }
  const { keyPem, stale } = vault.open(keyPath, sealed);
  const { key, keyType } = readSigningKey(keyPath, keyPem);
  if (keyType !== own.keyType) {
    const why = `it has an ${keyType.toUpperCase()} key, and this CA has an ${own.keyType.toUpperCase()} one`;
    throw new ConfigError(keyPath, `Cannot use ${keyPath}: ${why}. Put both files back from your backup`);
  }
  if (stale) {
    await writeSecret(keyPath, vault.seal(keyPem), false);
    notice(`Rewrote the private key in ${keyPath}, as keyStore requires`);
  }
  return { certificatePath, certificatePem, key };
}

/** Throws unless this CA was never there: clients trust the one that is lost, and would not trust a new one. */
async function refuseLost({ base, role }: OwnAuthority, missing: string): Promise<void> {
  const name = basename(base);
  const left = (await readdir(dirname(base))).filter((file) => file.startsWith(`${name}.`)).sort();
  if (left.length === 0) return;
  const why = `${missing} is not there, but ${left.join(", ")}`;
  const isNext = name.startsWith("next-");
  const away = isNext
    ? `move all of next-${role}-* away: then no CA is to follow`
    : `move all of ${base}.* away: the node then makes a new ${role} CA`;
  const way = `Put it back from there or from your backup. Only if that cannot be done, ${away}`;
  throw new ConfigError(missing, `Cannot open the ${isNext ? "next " : ""}${role} CA: ${why}. ${way}`);
}

/** Of a file of this name: the new content, until it takes the file's place. */
const DRAFT = ".new";
/** In the folder of the CAs while drafts take their files' places: names of these files, one a line. */
const COMMIT = "renewal";

/**
 * Puts new keys and certificates in the place of others, all or none, and keeps the old files as `….old-<time>`. By default it makes them.
 * Everything is on disk beside the old files before the first of them is replaced, so a full disk or a crash costs no CA;
 * `finishReplacement` goes on after a crash. Throws ConfigError, and then nothing has changed.
 */
export async function replaceFiles(
  all: readonly OwnAuthority[],
  now: number,
  { vault }: Pick<FileContext, "vault">,
  make: (own: OwnAuthority, now: number) => Promise<NewAuthority> = makeAuthority,
): Promise<void> {
  const suffix = `.old-${new Date(now).toISOString().replaceAll(/[-:]/g, "")}`;
  const written: string[] = [];
  const write = async (path: string, text: string) => {
    // Also after an error it may be there.
    written.push(path);
    await writeSecret(path, text, false);
  };
  const replaced: string[] = [];
  const files = all.flatMap(({ base }) => [`${base}.key`, `${base}.pem`]);
  const commit = join(dirname(files[0]!), COMMIT);
  // An earlier error may have left it. With new drafts it would tell the next start that they are complete.
  await removeSecret(commit);
  try {
    for (const own of all) {
      const { keyPem, pem } = await make(own, now);
      const contents = { key: vault.seal(keyPem), pem };
      for (const [extension, text] of Object.entries(contents)) {
        const file = `${own.base}.${extension}`;
        const old = await readSecret(file, () => undefined);
        if (old !== undefined) await write(`${file}${suffix}`, old);
        await write(`${file}${DRAFT}`, text);
      }
    }
    await write(commit, files.map((file) => `${basename(file)}\n`).join(""));
    for (const file of files) {
      // An error may come after the rename itself, when the folder cannot be synced.
      replaced.push(file);
      await renameSecret(`${file}${DRAFT}`, file);
    }
    await removeSecret(commit);
  } catch (error) {
    const kept = await undo(replaced, written, suffix);
    for (const path of written.reverse()) if (!kept.has(path)) await removeSecret(path).catch(() => undefined);
    throw error;
  }
}

/** Of a CA that takes another's place. */
interface NewAuthority {
  readonly keyPem: string;
  readonly pem: string;
}

async function makeAuthority(own: OwnAuthority, now: number): Promise<NewAuthority> {
  const key = await makePrivateKey(own.keyType);
  return { keyPem: privateKeyPem(key), pem: await makeCertificate(own, key, now) };
}

/** Puts the old files back in their places. The answer: those that cannot be put back, and stay under their new names. */
async function undo(replaced: readonly string[], written: readonly string[], suffix: string): Promise<Set<string>> {
  const kept = new Set<string>();
  for (const file of replaced) {
    const old = `${file}${suffix}`;
    if (written.includes(old)) await renameSecret(old, file).catch(() => kept.add(old));
    else await removeSecret(file).catch(() => undefined);
  }
  return kept;
}

/** Ends a replacement that a crash interrupted: with the new files if all of them were written, otherwise with the old ones. */
export async function finishReplacement(directory: string, notice: (text: string) => void): Promise<void> {
  const drafts = (await readdir(directory)).filter((name) => name.endsWith(DRAFT));
  const commit = join(directory, COMMIT);
  const names = (await readSecret(commit, notice))?.split("\n") ?? [];
  for (const draft of drafts) {
    const name = draft.slice(0, -DRAFT.length);
    if (names.includes(name)) await renameSecret(join(directory, draft), join(directory, name));
    else await removeSecret(join(directory, draft));
  }
  await removeSecret(commit);
  if (drafts.length > 0)
    notice(
      `Making a CA in ${directory} was interrupted: ${names.length > 0 ? "it is complete now" : "nothing has changed"}`,
    );
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
