import { createHash, type KeyObject, X509Certificate } from "node:crypto";
import { ConfigError } from "../../errors.ts";
import { publicKeyOf, splitPem } from "../x509/certificate.ts";
import { recordCertificate } from "../x509/certificate-record.ts";
import { readValidity } from "../x509/validity.ts";
import { readPkcs12 } from "./pkcs12.ts";
import { type HeldKeyType, readPrivateKey } from "./private-key.ts";

/** A server's certificate and key as the user gave them; `path` says where: "keys[0]", or a file of the data folder. */
export type KeySource = {
  /** Host names, `*.` wildcards, addresses. Empty: those that the certificate names. */
  readonly hosts: readonly string[];
  /** Under which the key is encrypted, if it is. */
  readonly passphrase?: string | undefined;
  readonly path: string;
} & (PemPair | { readonly pkcs12: string });

interface PemPair {
  /** The server's certificate first, then its chain. */
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** An inbound key, ready to be presented. The key is a secret: never log it. */
export interface InboundKey {
  /** The first 16 digits of `sha256`: one for each certificate. */
  readonly id: string;
  readonly hosts: readonly string[];
  readonly certificatePem: string;
  /** Not encrypted. */
  readonly keyPem: string;
  readonly keyType: HeldKeyType;
  readonly serial: string;
  /** Lower-case hex, of the certificate and of its SubjectPublicKeyInfo. */
  readonly sha256: string;
  readonly publicKeySha256: string;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly path: string;
}

/** Reads a key and its certificate, whatever the form. Throws ConfigError with the source's `path`. */
export function readKey(source: KeySource): InboundKey {
  const { path, passphrase } = source;
  const { certificatePem, keyPem } = "pkcs12" in source ? openPkcs12(path, source.pkcs12, passphrase) : source;
  const chain = readChain(path, certificatePem);
  const { key, keyType } = readPrivateKey(path, keyPem, passphrase);
  const [certificate] = chain;
  if (!certificate?.checkPrivateKey(key)) throw new ConfigError(path, `Cannot use ${path}: ${mismatch(chain, key)}`);
  const sha256 = digest(certificate.raw);
  return {
    id: sha256.slice(0, 16),
    hosts: source.hosts.length > 0 ? source.hosts : hostsOf(path, certificate),
    certificatePem: splitPem(certificatePem).join(""),
    keyPem: key.export({ type: "pkcs8", format: "pem" }).toString(),
    keyType,
    serial: certificate.serialNumber.toLowerCase(),
    sha256,
    publicKeySha256: digest(publicKeyOf(key)),
    ...readValidity(certificate),
    path,
  };
}

/** Reads keys as `readKey` does, and remembers: thousands of keys are read once, not at every reload. */
export interface KeyReader {
  read(source: KeySource): InboundKey;
  /** Forgets all that were not read since the last time. */
  forget(): void;
}

export function createKeyReader(): KeyReader {
  let [fresh, old] = [new Map<string, InboundKey>(), new Map<string, InboundKey>()];
  return {
    read(source) {
      const name = digest(JSON.stringify(source));
      const entry = fresh.get(name) ?? old.get(name) ?? readKey(source);
      fresh.set(name, entry);
      return entry;
    },
    forget() {
      old = fresh;
      fresh = new Map();
    },
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

function hostsOf(path: string, certificate: X509Certificate): readonly string[] {
  const { names } = recordCertificate(certificate);
  if (names.length > 0) return names;
  throw new ConfigError(path, `Cannot use ${path}: its certificate names no host, so hosts must be given`);
}

export function digest(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
