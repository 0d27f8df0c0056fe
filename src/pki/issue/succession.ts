import { createPrivateKey, X509Certificate } from "node:crypto";
import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { privateKeyPem } from "../keys/private-key.ts";
import { destroySecret, removeSecret, renameSecret } from "../keys/secret-file.ts";
import { fingerprintOf } from "../x509/fingerprint.ts";
import { type FileContext, type OwnAuthority, type Role, readFiles, replaceFiles } from "./authority-files.ts";
import type { Authority } from "./authority-reading.ts";

/**
 * How one CA of the node's own follows another: the next one is made and given to clients while the present one still signs, then it
 * takes that one's place. The former one's files stay until they are destroyed.
 */

/** The files of the CA that is to follow this one: `next-<base>.pem` and `next-<base>.key`. */
export function nextOf(own: OwnAuthority): OwnAuthority {
  return { ...own, base: join(dirname(own.base), `next-${basename(own.base)}`) };
}

/** Makes the next CA, in the key types of the present one. Throws ConfigError when there is one already; then nothing has changed. */
export async function makeNext(all: readonly OwnAuthority[], now: number, files: FileContext): Promise<void> {
  for (const own of all.map(nextOf)) {
    if ((await readFiles(own, files)) === undefined) continue;
    const way = "activate it, or destroy it first: clearline ca activate, clearline ca destroy --next";
    throw new ConfigError(`${own.base}.pem`, `Cannot make the next ${own.role} CA: there is one already; ${way}`);
  }
  await replaceFiles(all.map(nextOf), now, files);
}

/** Whether the next CA is there, in all key types. Throws ConfigError when a part of it is missing. */
export async function hasNext(all: readonly OwnAuthority[], files: FileContext): Promise<boolean> {
  const found = [];
  for (const own of all.map(nextOf)) found.push({ own, isThere: (await readFiles(own, files)) !== undefined });
  const missing = found.find(({ isThere }) => !isThere);
  if (!missing) return true;
  if (found.every(({ isThere }) => !isThere)) return false;
  const { base, role } = missing.own;
  const way = `Put it back from your backup, or move all of next-${role}-* away`;
  throw new ConfigError(`${base}.pem`, `Cannot open the next ${role} CA: ${base}.pem is not there. ${way}`);
}

/** Puts the next CA in the present one's place, all key types or none. */
export async function installNext(all: readonly OwnAuthority[], now: number, files: FileContext): Promise<void> {
  await replaceFiles(all, now, files, async (own) => {
    const next = await readFiles(nextOf(own), files);
    if (!next)
      throw new ConfigError(`${nextOf(own).base}.pem`, `Cannot activate the next ${own.role} CA: it is not there`);
    return { keyPem: privateKeyPem(next.key), pem: next.certificatePem };
  });
  await removeNext(all);
}

/**
 * Removes the next CA and destroys its keys, all or nothing: from the first step on there is none, and `finishRemoval` goes on after a
 * crash. No step needs room on the disk. Answers how many keys there were. Throws ConfigError.
 */
export async function removeNext(all: readonly OwnAuthority[]): Promise<number> {
  const bases = all.map((own) => nextOf(own).base);
  const leaving = leavingFile(all);
  const present = await readdir(dirname(leaving));
  const first = bases.map((base) => `${base}.pem`).find((file) => present.includes(basename(file)));
  if (first !== undefined && !present.includes(basename(leaving))) await renameSecret(first, leaving);
  let count = 0;
  for (const base of bases) {
    if (await destroySecret(`${base}.key`)) count += 1;
    await removeSecret(`${base}.pem`);
  }
  await removeSecret(leaving);
  return count;
}

/** Ends a removal that a crash or an error interrupted. Throws ConfigError. */
export async function finishRemoval(all: readonly OwnAuthority[], { notice }: FileContext): Promise<void> {
  const leaving = leavingFile(all);
  if (!(await readdir(dirname(leaving))).includes(basename(leaving))) return;
  await removeNext(all);
  notice(`Removing the next ${all[0]!.role} CA in ${dirname(leaving)} was interrupted: it is complete now`);
}

/** While the next CA of this role is being removed: one of its certificates. */
function leavingFile(all: readonly OwnAuthority[]): string {
  const { base, role } = all[0]!;
  return join(dirname(base), `next-${role}.leaving`);
}

/** The private keys of former CAs of this role. Their certificates may stay: they say whom clients need no longer trust. */
export async function formerKeys(directory: string, role: Role): Promise<string[]> {
  const names = await readdir(directory);
  return names.filter((name) => FORMER_KEY.exec(name)?.[1] === role).map((name) => join(directory, name));
}

const FORMER_KEY = /^(primary|secondary)-\w+\.key\.old-/;

/** Destroys these keys, for good. Answers how many there were. Throws ConfigError. */
export async function destroyKeys(paths: readonly string[]): Promise<number> {
  let count = 0;
  for (const path of paths) if (await destroySecret(path)) count += 1;
  return count;
}

/** A CA's certificate and private key. */
export interface AuthorityPair {
  readonly keyType: KeyType;
  readonly pem: string;
  readonly keyPem: string;
}

/** How one CA has followed another at some node, or will, for nodes that have the same CA. */
export interface Succession {
  readonly role: Role;
  /** SHA-256 of the certificates that signed before; empty: the present ones have not changed. */
  readonly before: readonly string[];
  readonly present: readonly AuthorityPair[];
  /** Empty: there is none. */
  readonly next: readonly AuthorityPair[];
}

/** Whether this certificate and key can be read and belong together. */
export function isPair({ pem, keyPem }: AuthorityPair): boolean {
  try {
    return new X509Certificate(pem).checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    return false;
  }
}

/** Whether these are the certificates of these CAs, in all key types. */
export function isSame(pairs: readonly AuthorityPair[], authorities: readonly Authority[]): boolean {
  return (
    pairs.length === authorities.length &&
    authorities.every(({ keyType, sha256 }) =>
      pairs.some((pair) => pair.keyType === keyType && fingerprintOf(new X509Certificate(pair.pem)) === sha256),
    )
  );
}

/** Puts these certificates and keys in the place of others, all or none. */
export function install(
  all: readonly OwnAuthority[],
  pairs: readonly AuthorityPair[],
  now: number,
  files: FileContext,
): Promise<void> {
  return replaceFiles(all, now, files, async ({ role, keyType }) => {
    const pair = pairs.find((one) => one.keyType === keyType);
    if (!pair) throw new ConfigError("role", `Cannot follow another node: its ${role} CA has no ${keyType} key`);
    return pair;
  });
}
