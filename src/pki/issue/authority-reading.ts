import type { KeyObject, X509Certificate } from "node:crypto";
import { ConfigError } from "../../errors.ts";
import type { KeyType } from "../../vocabulary.ts";
import { readSigningKey } from "../keys/private-key.ts";
import { readCertificate } from "../x509/certificate.ts";
import { encode, readInside, TAG } from "../x509/der.ts";
import { fingerprintOf } from "../x509/fingerprint.ts";
import { isIssuedBy, isSelfIssued } from "../x509/issuing.ts";
import { OID } from "../x509/oid.ts";
import { readCertificates } from "../x509/pem.ts";
import { keyIdentifier, publicKeyOf } from "../x509/public-key.ts";
import { readValidity } from "../x509/validity.ts";
import { type FileContext, type OwnAuthority, type Role, readFiles } from "./authority-files.ts";

/** A signing CA, read and checked: one of the node's own files, or one that the user gave. */

export const ROLES = ["primary", "secondary"] as const;

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

export async function readOwn(own: OwnAuthority, files: FileContext): Promise<Authority> {
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
  if (primary && secondary)
    collect(() => refuseSharedTrust(primary, secondary, given.secondary?.path ?? "signing.secondary"));
  return errors;
}

export function readGiven(role: Role, given: GivenAuthority, now: number): Authority {
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
export function refuseSharedTrust(primary: Authority, secondary: Authority, path: string): void {
  if (publicKeyOf(primary.key).equals(publicKeyOf(secondary.key))) {
    throw cannotUse(path, "the primary and the secondary CA have the same key");
  }
  // With a common issuer, a client that trusts the issuer trusts both, and no browser warns of an invalid server.
  const [above, other] = [primary, secondary].map(({ certificate }) => certificate.issuer);
  if (other === primary.certificate.subject || (above === other && other !== secondary.certificate.subject)) {
    throw cannotUse(path, "the secondary CA has the primary CA, or the same CA as the primary, for its issuer");
  }
}

function cannotUse(path: string, why: string): ConfigError {
  return new ConfigError(path, `Cannot use ${path}: ${why}`);
}
