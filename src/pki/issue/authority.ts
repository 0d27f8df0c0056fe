import type { KeyObject, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { readSigningKey } from "../keys/private-key.ts";
import { makeSecretFolder } from "../keys/secret-file.ts";
import { PLAIN_VAULT, type Vault } from "../keys/vault.ts";
import { readCertificate } from "../x509/certificate.ts";
import { encode, readInside, TAG } from "../x509/der.ts";
import { fingerprintOf } from "../x509/fingerprint.ts";
import { isIssuedBy, isSelfIssued } from "../x509/issuing.ts";
import { OID } from "../x509/oid.ts";
import { readCertificates } from "../x509/pem.ts";
import { keyIdentifier, publicKeyOf } from "../x509/public-key.ts";
import { readValidity } from "../x509/validity.ts";
import {
  type FileContext,
  finishReplacement,
  type OwnAuthority,
  type Role,
  readFiles,
  replaceFiles,
  sealOldFiles,
} from "./authority-files.ts";

/** A signing CA. */
export interface Authority {
  readonly role: Role;
  readonly keyType: KeyType;
  /** The user gave it; the node did not make it. */
  readonly given: boolean;
  readonly certificate: X509Certificate;
  readonly certificatePem: string;
  /** The certificates that clients need besides the issued one: this CA and those above it, without a root. May be "". */
  readonly chainPem: string;
  /** The CA's subject, a whole DER element: the issuer of its certificates, byte for byte. */
  readonly name: Buffer;
  readonly keyId: Buffer;
  readonly key: KeyObject;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly sha256: string;
}

/** A CA of the user's, in PEM. */
export interface GivenAuthority {
  /** The CA's certificate first; for an intermediate CA, then its chain. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** The key's passphrase, when it is encrypted. */
  readonly passphrase?: string | undefined;
  /** Its place in the configuration: "signing.primary". */
  readonly path: string;
}

export type GivenAuthorities = Partial<Record<Role, GivenAuthority | undefined>>;

export interface Authorities {
  /** The CA that signs for this role and key type. */
  find(role: Role, keyType: KeyType): Authority;
  /** All CAs, primary first. A given CA, which signs for both key types, is there once. */
  list(): readonly Authority[];
  /** Makes new CAs for a role; the old files are kept as `….old-<time>`. Throws ConfigError for a given CA. */
  renew(role: Role, now: number): Promise<void>;
  /** Messages for the user: permissions that were repaired, CAs that were renewed or expire soon. */
  readonly notices: readonly string[];
  /** One sentence for each CA that was made because there was none. */
  readonly made: readonly string[];
}

const ROLES = ["primary", "secondary"] as const;
const KEY_TYPES = ["ecdsa", "rsa"] as const;
const DAY = 24 * 3600 * 1000;
/** A CA that expires within this time is reported at every start. */
const SOON = 30 * DAY;

/**
 * Opens the signing CAs in `directory` (`<dataDir>/ca`) and makes those that were never there: primary and secondary, each
 * with an ECDSA P-256 and an RSA-2048 key. A given CA replaces both of its role. Only one process may do this at a time.
 * `vault` encrypts the keys. `now` in ms since the epoch. Throws ConfigError with the path of the file or the place in the
 * configuration.
 */
export async function openAuthorities(
  directory: string,
  given: GivenAuthorities,
  now: number,
  vault: Vault = PLAIN_VAULT,
): Promise<Authorities> {
  const notices: string[] = [];
  const files: FileContext = { vault, notice: (text) => notices.push(text) };
  const open = new Map<string, Authority>();
  const ownOf = (role: Role) =>
    KEY_TYPES.map((keyType) => ({ base: join(directory, `${role}-${keyType}`), role, keyType }));

  await makeSecretFolder(directory);
  await finishReplacement(directory, files.notice);
  const made = await makeMissing(ROLES.filter((role) => !given[role]).flatMap(ownOf), now, files);
  for (const role of ROLES) {
    const authority = given[role] && readGiven(role, given[role], now);
    for (const one of ownOf(role)) {
      open.set(`${role} ${one.keyType}`, authority ?? (await openOwn(one, now, files)));
    }
  }
  await sealOldFiles(directory, files);
  refuseSharedTrust(open.get("primary ecdsa")!, open.get("secondary ecdsa")!, given.secondary ?? given.primary);
  for (const authority of new Set(open.values())) noticeExpiry(authority, now, files);

  async function renew(role: Role, at: number): Promise<void> {
    if (given[role]) {
      const { path } = given[role];
      throw new ConfigError(path, `Cannot renew the ${role} CA: it is given in ${path}; replace the files there`);
    }
    await replaceFiles(ownOf(role), at, files);
    for (const one of ownOf(role)) open.set(`${role} ${one.keyType}`, await openOwn(one, at, files));
  }
  // Renewals run one after the other: two at once would rename each other's new files.
  let last: Promise<void> = Promise.resolve();
  return {
    notices,
    made,
    find: (role, keyType) => open.get(`${role} ${keyType}`)!,
    list: () => [...new Set(open.values())],
    renew(role, at) {
      const next = last.then(() => renew(role, at));
      last = next.catch(() => undefined);
      return next;
    },
  };
}

/** Opens a CA of the node's own. Replaces an expired one. */
async function openOwn(own: OwnAuthority, now: number, files: FileContext): Promise<Authority> {
  const authority = await readOwn(own, files);
  if (authority.notAfter > now) return authority;
  await replaceFiles([own], now, files);
  files.notice(`The ${own.role} CA in ${own.base}.pem had expired and was renewed: give clients the new certificate`);
  return await readOwn(own, files);
}

/** Makes the CAs that were never there, all or none. */
async function makeMissing(all: readonly OwnAuthority[], now: number, files: FileContext): Promise<string[]> {
  const missing: OwnAuthority[] = [];
  for (const own of all) if ((await readFiles(own, files)) === undefined) missing.push(own);
  if (missing.length === 0) return [];
  await replaceFiles(missing, now, files);
  return missing.map(
    ({ base, role, keyType }) => `Made a ${role} CA with an ${keyType.toUpperCase()} key: ${base}.pem`,
  );
}

async function readOwn(own: OwnAuthority, files: FileContext): Promise<Authority> {
  const { role, keyType, base } = own;
  const found = await readFiles(own, files);
  if (!found) throw new ConfigError(`${base}.pem`, `Cannot read ${base}.pem: somebody has just removed it`);
  return prepare({ role, keyType, given: false, key: found.key }, found.certificatePath, found.certificatePem);
}

/** Every error in the CAs of a configuration. `now` in ms since the epoch. */
export function checkAuthorities(given: GivenAuthorities, now: number): ConfigError[] {
  const errors: ConfigError[] = [];
  const collect = <Value>(read: () => Value): Value | undefined => {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error);
      return undefined;
    }
  };
  const [primary, secondary] = ROLES.map((role) => collect(() => given[role] && readGiven(role, given[role], now)));
  if (primary && secondary) collect(() => refuseSharedTrust(primary, secondary, given.secondary));
  return errors;
}

function readGiven(role: Role, given: GivenAuthority, now: number): Authority {
  const { key, keyType } = readSigningKey(given.path, given.keyPem, given.passphrase);
  const authority = prepare({ role, keyType, given: true, key }, given.path, given.certificatePem);
  const { validTo, validFrom } = authority.certificate;
  if (authority.notAfter <= now) throw cannotUse(given.path, `its certificate expired on ${validTo}`);
  if (authority.notBefore > now) throw cannotUse(given.path, `its certificate is not valid before ${validFrom}`);
  return authority;
}

/** Checks that the certificate and the key can sign, and prepares an Authority. Throws ConfigError. */
function prepare(known: Pick<Authority, "role" | "keyType" | "given" | "key">, path: string, pem: string): Authority {
  const chain = readCertificates(path, pem);
  const [{ certificate, pem: certificatePem }] = chain;
  if (!certificate.checkPrivateKey(known.key)) {
    throw cannotUse(path, "the key does not belong to the first certificate");
  }
  // OpenSSL checks basicConstraints and keyUsage.
  if (!certificate.ca)
    throw cannotUse(
      path,
      "basicConstraints or keyUsage of the first certificate does not allow it to sign certificates",
    );
  for (const [index, issuer] of chain.slice(1).entries()) {
    if (isIssuedBy(chain[index]!.certificate, issuer.certificate)) continue;
    throw cannotUse(path, `certificate ${index + 2} is not the issuer of certificate ${index + 1}`);
  }
  const { subject, extensions, publicKey } = readCertificate(certificate.raw);
  return {
    ...known,
    certificate,
    certificatePem,
    chainPem: chain.flatMap((one) => (isSelfIssued(one.certificate) ? [] : [one.pem])).join(""),
    name: subject,
    keyId: subjectKeyId(extensions.get(OID.subjectKeyIdentifier)?.value) ?? keyIdentifier(publicKey),
    ...readValidity(certificate),
    sha256: fingerprintOf(certificate),
  };
}

function subjectKeyId(value: Buffer | undefined): Buffer | undefined {
  return value && readInside(encode(TAG.sequence, value), TAG.sequence, "subjectKeyIdentifier")[0]?.content;
}

/** A client that trusts the primary CA must not trust the secondary one because of it. */
function refuseSharedTrust(primary: Authority, secondary: Authority, given: GivenAuthority | undefined): void {
  if (!given) return;
  if (publicKeyOf(primary.key).equals(publicKeyOf(secondary.key))) {
    throw cannotUse(given.path, "the primary and the secondary CA have the same key");
  }
  // With a common issuer, a client that trusts the issuer trusts both, and no browser warns of an invalid server.
  const [above, other] = [primary, secondary].map(({ certificate }) => certificate.issuer);
  if (other === primary.certificate.subject || (above === other && other !== secondary.certificate.subject)) {
    throw cannotUse(given.path, "the secondary CA has the primary CA, or the same CA as the primary, for its issuer");
  }
}

function noticeExpiry({ role, notAfter, sha256 }: Authority, now: number, { notice }: FileContext): void {
  if (notAfter - now >= SOON) return;
  notice(`The ${role} CA ${sha256.slice(0, 16)} expires on ${new Date(notAfter).toISOString().slice(0, 10)}`);
}

function cannotUse(path: string, why: string): ConfigError {
  return new ConfigError(path, `Cannot use ${path}: ${why}`);
}
