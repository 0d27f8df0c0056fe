import { generateKeyPairSync } from "node:crypto";
import { Cache } from "../../cache.ts";
import type { KeyType } from "../../vocabulary.ts";
import { issueCertificate, randomSerial } from "../x509/certificate-writing.ts";
import { sha256 } from "../x509/fingerprint.ts";
import { namesKey } from "../x509/general-name.ts";
import { toPem } from "../x509/pem.ts";
import type { Authorities } from "./authority.ts";
import type { Role } from "./authority-files.ts";
import type { Authority } from "./authority-reading.ts";
import type { LeafChoice } from "./key-type.ts";
import { makeRareKey } from "./leaf-key.ts";
import { type Minted, sizeOfMinted } from "./minted.ts";
import { mirror, mirrorExtensions, mirrorValidity, unmirrored } from "./mirror.ts";
import { createRsaPool, type IssuedKey } from "./rsa-pool.ts";
import { writeGoodStatus } from "./status.ts";
import { statusExtensions } from "./status-server.ts";

/** A worker's request for a certificate. */
export interface MintRequest extends LeafChoice {
  /** The server's own certificate, DER. Undefined: the node answers itself, for `names`. */
  readonly certificate: Buffer | undefined;
  readonly authority: Role;
  /** DNS names in lower case and addresses, instead of all those of the original. */
  readonly names?: readonly string[] | undefined;
}

/** The certificates that several nodes share. It never fails and answers soon: if it cannot, it finds nothing. */
export interface SharedCertificates {
  find(name: string): Promise<Minted | undefined>;
  /** `until` in ms since the epoch. */
  put(name: string, minted: Minted, until: number): void;
}

export interface MintCounters {
  readonly minted: number;
  /** Issued by another node. */
  readonly shared: number;
  /** Found in the cache, or requested while it was being issued. */
  readonly hits: number;
  readonly failed: number;
  readonly evicted: number;
  readonly entries: number;
  readonly rsaKeysReady: number;
  readonly rsaKeysMade: number;
}

export interface Mint {
  /**
   * Issues a certificate or answers the one issued before. `now` in ms since the epoch. Throws PeerError when the server's
   * certificate is not X.509.
   */
  issue(request: MintRequest, now: number): Promise<Minted>;
  counters(): MintCounters;
  /** Forgets the issued certificates and answers how many there were. */
  flush(): number;
}

export interface MintOptions {
  /** The longest validity of a certificate, in ms. */
  readonly maxValidity?: number;
  /** The most certificates in the cache. */
  readonly cacheSize?: number;
  /** The most bytes of memory that the cache may take. */
  readonly cacheBytes?: number;
  /** ms that a certificate stays in the cache. */
  readonly cacheTime?: number;
  readonly rsaPoolSize?: number;
  readonly rsaKeyUses?: number;
  readonly rsaKeyTime?: number;
  readonly shared?: SharedCertificates | undefined;
  /** Where clients ask for the status of issued certificates; undefined: nowhere. */
  readonly statusUrl?: string | undefined;
  /** ms since the epoch by a clock that nobody sets. */
  readonly steady?: () => number;
}

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;

/**
 * Issues the certificates that the node presents to clients. Within the cache's time a server gets the same certificate,
 * and sessions that request it at the same time share one. `now` in ms since the epoch.
 */
export function createMint(authorities: Authorities, options: MintOptions, now: number): Mint {
  const { maxValidity = 90 * DAY, cacheSize = 10_000, cacheBytes = 64 * 2 ** 20, cacheTime = DAY, shared } = options;
  const { statusUrl, steady, rsaPoolSize = 2, rsaKeyUses = 100, rsaKeyTime = DAY } = options;
  const rsaKeys = createRsaPool({ size: rsaPoolSize, uses: rsaKeyUses, time: rsaKeyTime }, now);
  const cache = new Cache<Minted>({
    entries: cacheSize,
    bytes: cacheBytes,
    sizeOf: sizeOfMinted,
  });
  const count = { minted: 0, shared: 0, failed: 0 };

  function keyOf({ keyType }: MintRequest, at: number): IssuedKey | Promise<IssuedKey> {
    if (keyType === "rsa") return rsaKeys.take(at);
    return keyType === "ecdsa" ? makeEcdsaKey() : makeRareKey(keyType);
  }

  async function findOrMint(name: string, request: MintRequest, authority: Authority, at: number) {
    try {
      const found = await shared?.find(name);
      if (found) {
        count.shared += 1;
        return cached(found, cacheTime, at);
      }
      const key = await keyOf(request, at);
      const minted = cached(
        await mint(request, authority, key, { maxValidity, statusUrl, steady: steady?.() ?? at }, at),
        cacheTime,
        at,
      );
      count.minted += 1;
      shared?.put(name, minted.value, minted.until);
      return minted;
    } catch (error) {
      count.failed += 1;
      throw error;
    }
  }

  return {
    async issue(request, at) {
      const authority = authorities.find(request.authority, signerOf(request));
      // The name includes the CA: after its renewal no certificate of the old one is presented.
      const { keyType, hash = "" } = request;
      const choice = `${request.authority} ${keyType} ${hash} ${namesKey(request.names)}`.trimEnd();
      const original = request.certificate ? sha256(request.certificate) : "own";
      const name = `${original} ${authority.sha256} ${choice} ${statusUrl ?? ""}`.trimEnd();
      return await cache.take(name, at, () => findOrMint(name, request, authority, at));
    },
    counters() {
      const { ready, made } = rsaKeys.counters();
      const { hits, evicted, size } = cache;
      return { ...count, hits, evicted, entries: size, rsaKeysReady: ready, rsaKeysMade: made };
    },
    flush: () => cache.flush(),
  };
}

function signerOf({ keyType, signer }: MintRequest): KeyType {
  return signer ?? (keyType === "rsa" ? "rsa" : "ecdsa");
}

/** Expired certificates, which mirror expired originals, stay for the whole time: issuing them again would not renew them. */
function cached(minted: Minted, cacheTime: number, now: number) {
  return {
    value: minted,
    until: minted.notAfter > now ? Math.min(now + cacheTime, minted.notAfter) : now + cacheTime,
  };
}

/** Issues one certificate. */
async function mint(
  request: MintRequest,
  authority: Authority,
  key: IssuedKey,
  {
    maxValidity,
    statusUrl,
    steady,
  }: Pick<Required<MintOptions>, "maxValidity"> & Pick<MintOptions, "statusUrl"> & { readonly steady: number },
  now: number,
): Promise<Minted> {
  const { certificate, names = [] } = request;
  const original = certificate ? mirror(certificate, request.names) : unmirrored(names, now);
  const validity = mirrorValidity(original, authority, maxValidity, { now, steady });
  const serial = randomSerial();
  const der = await issueCertificate(
    {
      serial,
      issuer: authority.name,
      subject: original.subject,
      ...validity,
      publicKey: key.publicKey,
      extensions: [
        ...mirrorExtensions(original, key.publicKey, request.keyType === "rsa", authority.keyId),
        ...(statusUrl === undefined ? [] : statusExtensions(statusUrl, authority)),
      ],
    },
    authority.key,
    request.hash,
  );
  return {
    certificatePem: toPem(der) + authority.chainPem,
    keyPem: key.keyPem,
    serial: serial.toString("hex"),
    sha256: sha256(der),
    keyType: request.keyType,
    authority: request.authority,
    ocsp: (await writeGoodStatus(serial, authority, now)).toString("base64"),
    notAfter: validity.notAfter,
  };
}

/** A fresh key for each certificate. It takes 0.1 ms, less than passing the work to another thread. */
function makeEcdsaKey(): IssuedKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "der" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { publicKey, keyPem: privateKey };
}
