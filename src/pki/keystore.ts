import { createHash, type KeyObject, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { ConfigError } from "../errors.ts";
import { publicKeyOf, readCertificate, splitPem } from "./certificate.ts";
import type { KeyType } from "./key-type.ts";
import { readPrivateKey } from "./private-key.ts";

/** A server's certificate and key as the user gave them; `path` says where: "keys[0]", or a file of the data folder. */
export interface KeySource {
  /** Host names, `*.` wildcards, addresses. */
  readonly hosts: readonly string[];
  /** The server's certificate first, then its chain. */
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly path: string;
}

/** An inbound key, ready to be presented. The key is a secret: never log it. */
export interface KeystoreEntry {
  /** The first 16 digits of `sha256`: one for each certificate. */
  readonly id: string;
  readonly hosts: readonly string[];
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly keyType: KeyType;
  readonly serial: string;
  /** Lower-case hex, of the certificate and of its SubjectPublicKeyInfo. */
  readonly sha256: string;
  readonly publicKeySha256: string;
  /** ms since the epoch. */
  readonly notAfter: number;
}

export interface Keystore {
  /**
   * The keys for a server: those for exactly this host, else of the longest wildcard, else of the address. There are
   * several when the user gave a host an RSA and an ECDSA key. Empty: the server is not one of ours.
   */
  find(host: string | undefined, address: string): readonly KeystoreEntry[];
  /** Whether the certificate's key is one of ours, be the certificate itself another: a renewed one, say. */
  holds(certificate: X509Certificate): boolean;
  readonly entries: readonly KeystoreEntry[];
}

/** Makes the look-up of inbound keys. Of two keys of one type for one host, the later wins. Throws ConfigError. */
export function createKeystore(sources: readonly KeySource[]): Keystore {
  const entries = sources.map(readKey);
  const byHost = new Map<string, Map<KeyType, KeystoreEntry>>();
  for (const entry of entries) {
    for (const host of entry.hosts.map(foldHost)) {
      const types = byHost.get(host) ?? new Map<KeyType, KeystoreEntry>();
      byHost.set(host, types.set(entry.keyType, entry));
    }
  }
  const held = new Set(entries.map(({ publicKeySha256 }) => publicKeySha256));
  return {
    entries,
    holds: (certificate) => held.has(digest(readCertificate(certificate.raw).publicKey)),
    find(host, address) {
      const keys = [...(host === undefined ? [] : hostKeys(foldHost(host))), foldHost(address)];
      const found = keys.map((key) => byHost.get(key)).find((types) => types !== undefined);
      return found ? [...found.values()] : [];
    },
  };
}

/** Under which names a host may stand, the closest first: "a.b.c" as itself, as "*.b.c", as "*.c". */
function hostKeys(host: string): string[] {
  if (isIP(host)) return [host];
  const labels = host.split(".");
  return [host, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`)];
}

/** One spelling for what means the same: case, a trailing dot, the forms of IPv6, IPv4 within IPv6. */
function foldHost(host: string): string {
  return isIP(host) ? ipaddr.process(host).toString() : host.toLowerCase().replace(/\.$/, "");
}

/**
 * Everything that is wrong with the keys the user gave: a key that does not belong to its certificate, an encrypted
 * one, none at all, two of one type for one host. Each error has the entry's `path`.
 */
export function checkKeys(sources: readonly KeySource[]): ConfigError[] {
  const errors: ConfigError[] = [];
  const taken = new Map<string, string>();
  for (const source of sources) {
    try {
      const { keyType } = readKey(source);
      for (const host of new Set(source.hosts.map(foldHost))) {
        const name = `${keyType} ${host}`;
        const first = taken.get(name);
        if (first !== undefined) {
          const why = `${first} has a key of the same type for ${host}`;
          errors.push(new ConfigError(source.path, `Cannot use ${source.path}: ${why}`));
        }
        taken.set(name, first ?? source.path);
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error);
    }
  }
  return errors;
}

/** What the user should hear of, though it stops nothing: certificates whose time is not now. Of keys without errors. */
export function keyWarnings(sources: readonly KeySource[], now: number): string[] {
  return sources.flatMap(({ path, certificatePem }) => {
    const { validFromDate, validToDate } = new X509Certificate(splitPem(certificatePem)[0] ?? "");
    if (validToDate.getTime() < now) return [`The certificate of ${path} expired on ${validToDate.toISOString()}`];
    if (validFromDate.getTime() > now)
      return [`The certificate of ${path} is not valid before ${validFromDate.toISOString()}`];
    return [];
  });
}

function readKey({ hosts, certificatePem, keyPem, path }: KeySource): KeystoreEntry {
  const chain = readChain(path, certificatePem);
  const { key, keyType } = readPrivateKey(path, keyPem);
  const [certificate] = chain;
  if (!certificate?.checkPrivateKey(key)) throw new ConfigError(path, `Cannot use ${path}: ${mismatch(chain, key)}`);
  const sha256 = digest(certificate.raw);
  return {
    id: sha256.slice(0, 16),
    hosts,
    certificatePem,
    keyPem,
    keyType,
    serial: certificate.serialNumber.toLowerCase(),
    sha256,
    publicKeySha256: digest(publicKeyOf(key)),
    notAfter: certificate.validToDate.getTime(),
  };
}

function readChain(path: string, pem: string): X509Certificate[] {
  const blocks = splitPem(pem);
  if (blocks.length === 0)
    throw new ConfigError(path, `Cannot use ${path}: there is no PEM certificate in its certificate file`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      const why = `its certificate number ${index + 1} cannot be read`;
      throw new ConfigError(path, `Cannot use ${path}: ${why}`, { cause: error });
    }
  });
}

function mismatch(chain: readonly X509Certificate[], key: KeyObject): string {
  const other = chain.findIndex((certificate) => certificate.checkPrivateKey(key));
  return other > 0
    ? `its key belongs to certificate number ${other + 1}, which must stand first`
    : "its key does not belong to its certificate";
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
