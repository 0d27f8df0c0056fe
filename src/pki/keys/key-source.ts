import type { KeyObject } from "node:crypto";
import { ConfigError } from "../../errors.ts";
import type { Fault } from "../../vocabulary.ts";
import { recordCertificate } from "../x509/certificate-record.ts";
import { fingerprintOf, serialNumberOf, sha256 } from "../x509/fingerprint.ts";
import { type PemCertificate, readCertificates } from "../x509/pem.ts";
import { publicKeyOf } from "../x509/public-key.ts";
import { readValidity } from "../x509/validity.ts";
import { ID_LENGTH, type InboundKey } from "./inbound-key.ts";
import { foldHost } from "./keystore.ts";
import { readPkcs12 } from "./pkcs12.ts";
import { privateKeyPem, readPrivateKey } from "./private-key.ts";

/** A server's certificate and key as the user gave them. */
export type KeySource = {
  /** Host names, `*.` wildcards, addresses. Empty: the names in the certificate. */
  readonly hosts: readonly string[];
  /** The key's passphrase, when it is encrypted. */
  readonly passphrase?: string | undefined;
  /** Where it comes from: "keys[0]" in the configuration, or a file of the data folder. */
  readonly path: string;
  /** Faults of the server's own certificate despite which clients are shown this one; undefined: none. */
  readonly acceptFaults?: readonly Fault[] | undefined;
} & (PemPair | { readonly pkcs12: string });

interface PemPair {
  /** The server's certificate first, then its chain. */
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** Reads a certificate and its key in any of the forms. Throws ConfigError with the source's `path`. */
export function readKey(source: KeySource): InboundKey {
  const { path, passphrase } = source;
  const { certificatePem, keyPem } = "pkcs12" in source ? openPkcs12(path, source.pkcs12, passphrase) : source;
  const chain = readCertificates(path, certificatePem);
  const { key, keyType } = readPrivateKey(path, keyPem, passphrase);
  const [{ certificate }] = chain;
  if (!certificate.checkPrivateKey(key)) throw new ConfigError(path, `Cannot use ${path}: ${mismatch(chain, key)}`);
  const fingerprint = fingerprintOf(certificate);
  return {
    id: fingerprint.slice(0, ID_LENGTH),
    hosts: source.hosts.length > 0 ? source.hosts : namesOf(path, certificate),
    certificatePem: chain.map(({ pem }) => pem).join(""),
    keyPem: privateKeyPem(key),
    keyType,
    ...(source.acceptFaults && { acceptFaults: source.acceptFaults }),
    serial: serialNumberOf(certificate),
    sha256: fingerprint,
    publicKeySha256: sha256(publicKeyOf(key)),
    ...readValidity(certificate),
    path,
  };
}

function openPkcs12(path: string, base64: string, passphrase = ""): PemPair {
  try {
    return readPkcs12(Buffer.from(base64, "base64"), passphrase);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(path, `Cannot use ${path}: its PKCS#12 file ${error.message}`, { cause: error });
  }
}

function mismatch(chain: readonly PemCertificate[], key: KeyObject): string {
  const other = chain.findIndex(({ certificate }) => certificate.checkPrivateKey(key));
  return other > 0
    ? `its key belongs to certificate ${other + 1}, which must be the first one`
    : "its key does not belong to its certificate";
}

function namesOf(path: string, certificate: PemCertificate["certificate"]): readonly string[] {
  const { names } = recordCertificate(certificate);
  if (names.length > 0) return names;
  throw new ConfigError(path, `Cannot use ${path}: its certificate has no host name or address; give hosts`);
}

/** Reads keys and remembers them, so that a reload does not read thousands of keys again. */
export interface KeyReader {
  /** Throws ConfigError, like `readKey`. */
  read(source: KeySource): InboundKey;
  /** Forgets the keys that were not read since the last call. */
  forget(): void;
}

export function createKeyReader(): KeyReader {
  let [fresh, old] = [new Map<string, InboundKey>(), new Map<string, InboundKey>()];
  return {
    read(source) {
      const name = sha256(JSON.stringify(source));
      const key = fresh.get(name) ?? old.get(name) ?? readKey(source);
      fresh.set(name, key);
      return key;
    },
    forget() {
      old = fresh;
      fresh = new Map();
    },
  };
}

/**
 * Every error in the keys of a configuration: those that cannot be read, and two keys of the same type for one host. Each
 * error has the source's `path`.
 */
export function checkKeys(sources: readonly KeySource[], read = readKey): ConfigError[] {
  const errors: ConfigError[] = [];
  const firstUses = new Map<string, string>();
  for (const source of sources) {
    const { path } = source;
    try {
      const { keyType, hosts } = read(source);
      for (const host of new Set(hosts.map(foldHost))) {
        const use = `${keyType} ${host}`;
        const first = firstUses.get(use);
        if (first === undefined) firstUses.set(use, path);
        else errors.push(new ConfigError(path, `Cannot use ${path}: ${first} has a key of the same type for ${host}`));
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error);
    }
  }
  return errors;
}
