import { type KeyObject, X509Certificate } from "node:crypto";
import { join } from "node:path";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { readSigningKey } from "../keys/private-key.ts";
import { makeSecretFolder } from "../keys/secret-file.ts";
import { OPEN_VAULT, type Vault } from "../keys/vault.ts";
import { keyIdentifier, OID, publicKeyOf, readCertificate, splitPem } from "../x509/certificate.ts";
import { encode, readInside, TAG } from "../x509/der.ts";
import { readValidity } from "../x509/validity.ts";
import { type FileContext, type Role, readOrMakeFiles, replaceFiles, sealOldFiles } from "./authority-files.ts";

export type { Role };

/** One signing CA, ready to sign. */
export interface Authority {
  readonly role: Role;
  readonly keyType: KeyType;
  /** The user's own, not made by the node. */
  readonly given: boolean;
  readonly certificate: X509Certificate;
  readonly certificatePem: string;
  /** What clients need besides the issued certificate: this CA and those above it, but never a root. PEM, may be "". */
  readonly chainPem: string;
  /** The CA's Name, a whole DER element, as issued certificates must repeat it. */
  readonly name: Buffer;
  readonly keyId: Buffer;
  readonly key: KeyObject;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Lower-case hex of the certificate's SHA-256. */
  readonly sha256: string;
}

/** A CA of the user's: PEM texts, and where they stand in the configuration ("signing.primary"). An intermediate brings its chain. */
export interface GivenAuthority {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Under which the key is encrypted, if it is. */
  readonly passphrase?: string | undefined;
  readonly path: string;
}

export interface Authorities {
  /** The CA that signs for this role and this type of key. */
  find(role: Role, keyType: KeyType): Authority;
  /** Every CA there is, primary first; a given one stands once. */
  list(): readonly Authority[];
  /** Makes new keys and certificates for a role; the old files are kept as `….old-<time>`. Throws ConfigError for a given CA. */
  renew(role: Role, now: number): Promise<void>;
  /** What the user should hear of: permissions that were repaired, a CA that was renewed or soon ends. */
  readonly notices: readonly string[];
}

const ROLES = ["primary", "secondary"] as const;
const KEY_TYPES = ["ecdsa", "rsa"] as const;
const DAY = 24 * 3600 * 1000;
/** From here on a CA's end is told at every start. */
const SOON = 30 * DAY;

/**
 * Opens the signing CAs of the node in `directory` (`<dataDir>/ca`), and makes those that are not there yet: primary
 * and secondary, each ECDSA P-256 and RSA-2048. A CA of the user's takes the place of both of its role's.
 * Safe when several nodes start at once in one folder: they end with the same CAs.
 * `now` in ms since the epoch; `vault` is how their keys lie on the disk. Throws ConfigError, naming the file or the place in the
 * configuration.
 */
export async function openAuthorities(
  directory: string,
  given: Partial<Record<Role, GivenAuthority | undefined>>,
  now: number,
  vault: Vault = OPEN_VAULT,
): Promise<Authorities> {
  const notices: string[] = [];
  const files: FileContext = { vault, notice: (text) => notices.push(text) };
  await makeSecretFolder(directory);
  const open = new Map<string, Authority>();
  for (const role of ROLES) {
    const own = given[role];
    const authority = own && readGiven(role, own, now);
    for (const keyType of KEY_TYPES) {
      open.set(`${role} ${keyType}`, authority ?? (await openOwn(directory, role, keyType, now, files)));
    }
  }
  await sealOldFiles(directory, files);
  refuseOneForBoth(open.get("primary ecdsa")!, open.get("secondary ecdsa")!, given.secondary ?? given.primary);
  for (const { role, notAfter, sha256 } of new Set(open.values())) {
    if (notAfter - now >= SOON) continue;
    notices.push(`The ${role} CA ${sha256.slice(0, 16)} expires on ${new Date(notAfter).toISOString().slice(0, 10)}`);
  }
  const renew = async (role: Role, at: number): Promise<void> => {
    if (given[role]) {
      const { path } = given[role];
      throw new ConfigError(path, `Cannot renew the ${role} CA: ${path} gives it; replace the files it names`);
    }
    for (const keyType of KEY_TYPES) {
      await replaceFiles(join(directory, `${role}-${keyType}`), role, keyType, at, files);
      open.set(`${role} ${keyType}`, await openOwn(directory, role, keyType, at, files));
    }
  };
  // One after the other: two at once would move each other's files aside.
  let renewed: Promise<void> = Promise.resolve();
  return {
    notices,
    find: (role, keyType) => open.get(`${role} ${keyType}`)!,
    list: () => [...new Set(open.values())],
    renew(role, at) {
      const next = renewed.then(() => renew(role, at));
      renewed = next.catch(() => undefined);
      return next;
    },
  };
}

/** Clients that trust the CA for valid servers must not, by the same act, trust the one for invalid servers. */
function refuseOneForBoth(primary: Authority, secondary: Authority, given: GivenAuthority | undefined): void {
  if (!given) return;
  const cannot = (why: string) => new ConfigError(given.path, `Cannot use ${given.path}: ${why}`);
  if (publicKeyOf(primary.key).equals(publicKeyOf(secondary.key))) {
    throw cannot("the primary and the secondary CA have the same key");
  }
  // A client that trusts what stands above both trusts the secondary, and no browser warns of a bad server any more.
  const [above, other] = [primary, secondary].map(({ certificate }) => certificate.issuer);
  if (other === primary.certificate.subject || (above === other && other !== secondary.certificate.subject)) {
    throw cannot("the secondary CA is signed by what clients trust for the primary one");
  }
}

/** Reads a CA of the node's own, making first what is missing of it. An expired one is renewed: it is of no use to anyone. */
async function openOwn(
  directory: string,
  role: Role,
  keyType: KeyType,
  now: number,
  files: FileContext,
): Promise<Authority> {
  const base = join(directory, `${role}-${keyType}`);
  const own = await openFiles(base, role, keyType, now, files);
  if (own.notAfter > now) return own;
  await replaceFiles(base, role, keyType, now, files);
  files.notice(`The ${role} CA in ${base}.pem had expired and was renewed: clients must be given the new one`);
  return await openFiles(base, role, keyType, now, files);
}

async function openFiles(
  base: string,
  role: Role,
  keyType: KeyType,
  now: number,
  files: FileContext,
): Promise<Authority> {
  const { certificatePath, certificatePem, key } = await readOrMakeFiles(base, role, keyType, now, files);
  return readAuthority(role, keyType, false, certificatePath, certificatePem, key);
}

/** Everything that is wrong with the CAs that the user gives. `now` in ms since the epoch. */
export function checkAuthorities(given: Partial<Record<Role, GivenAuthority | undefined>>, now: number): ConfigError[] {
  const errors: ConfigError[] = [];
  const read = ROLES.map((role) => {
    try {
      return given[role] && readGiven(role, given[role], now);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error);
      return undefined;
    }
  });
  const [primary, secondary] = read;
  try {
    if (primary && secondary) refuseOneForBoth(primary, secondary, given.secondary);
  } catch (error) {
    errors.push(error as ConfigError);
  }
  return errors;
}

function readGiven(role: Role, given: GivenAuthority, now: number): Authority {
  const { key, keyType } = readSigningKey(given.path, given.keyPem, given.passphrase);
  const authority = readAuthority(role, keyType, true, given.path, given.certificatePem, key);
  const cannot = (why: string): ConfigError => new ConfigError(given.path, `Cannot use ${given.path}: ${why}`);
  if (authority.notAfter <= now) throw cannot(`its certificate expired on ${authority.certificate.validTo}`);
  if (authority.notBefore > now) throw cannot(`its certificate is not valid before ${authority.certificate.validFrom}`);
  return authority;
}

/** Checks that the pair can sign, and prepares what signing needs. */
function readAuthority(
  role: Role,
  keyType: KeyType,
  given: boolean,
  path: string,
  pem: string,
  key: KeyObject,
): Authority {
  const cannot = (why: string): ConfigError => new ConfigError(path, `Cannot use ${path}: ${why}`);
  const blocks = splitPem(pem);
  let chain: X509Certificate[];
  try {
    chain = blocks.map((block) => new X509Certificate(block));
  } catch (error) {
    throw new ConfigError(path, `Cannot use ${path}: a certificate in it cannot be read`, { cause: error });
  }
  const [certificate, ...above] = chain;
  if (!certificate) throw cannot("there is no certificate in it");
  if (!certificate.checkPrivateKey(key)) throw cannot("the key does not belong to the first certificate");
  // OpenSSL looks at basicConstraints and at keyUsage for this.
  if (!certificate.ca) throw cannot("its first certificate may not sign certificates: it is not a CA's");
  for (const [index, issuer] of above.entries()) {
    const issued = chain[index]!;
    if (!issued.checkIssued(issuer) || !issued.verify(issuer.publicKey)) {
      throw cannot(`certificate ${index + 2} of its chain did not issue certificate ${index + 1}`);
    }
  }
  const { subject, extensions, publicKey } = readCertificate(certificate.raw);
  return {
    role,
    keyType,
    given,
    certificate,
    certificatePem: blocks[0]!,
    chainPem: blocks.filter((_, index) => !isRoot(chain[index]!)).join(""),
    name: subject,
    keyId: subjectKeyId(extensions.get(OID.subjectKeyIdentifier)?.value) ?? keyIdentifier(publicKey),
    key,
    ...readValidity(certificate),
    sha256: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
  };
}

function isRoot(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}

function subjectKeyId(value: Buffer | undefined): Buffer | undefined {
  return value && readInside(encode(TAG.sequence, value), TAG.sequence)[0]?.content;
}
