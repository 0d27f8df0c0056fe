import { createHash, generateKeyPairSync } from "node:crypto";
import { createCache } from "../../cache.ts";
import type { KeyType } from "../../vocabulary.ts";
import { issueCertificate, randomSerial, toPem } from "../x509/certificate.ts";
import type { Authorities, Authority, Role } from "./authority.ts";
import { mirror, mirrorExtensions, mirrorValidity } from "./mirror.ts";
import { createRsaPool, type IssuedKey } from "./rsa-pool.ts";

/** What a worker asks for: a certificate like this server's, that this client can verify. */
export interface MintRequest {
  /** The server's own certificate, DER. */
  readonly certificate: Buffer;
  readonly authority: Role;
  readonly keyType: KeyType;
}

/** An issued certificate with its key, as plain data that crosses to a worker. The key is a secret: never log it. */
export interface Minted {
  /** PEM: the issued certificate, then the signing CA and those above it, without the root. */
  readonly certificatePem: string;
  readonly keyPem: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly sha256: string;
  readonly keyType: KeyType;
  readonly authority: Role;
  /** ms since the epoch. */
  readonly notAfter: number;
}

/** Where nodes leave for each other what they issued. It never fails, and answers soon: what it cannot tell is not there. */
export interface SharedCertificates {
  find(name: string): Promise<Minted | undefined>;
  /** `until` in ms since the epoch. */
  put(name: string, minted: Minted, until: number): void;
}

export interface MintCounters {
  readonly minted: number;
  /** Issued by another node. */
  readonly shared: number;
  /** Answered from the cache, or by a mint that was under way for somebody else. */
  readonly hits: number;
  readonly failed: number;
  readonly evicted: number;
  readonly entries: number;
  readonly rsaKeysReady: number;
  readonly rsaKeysMade: number;
}

export interface Mint {
  /** Issues a certificate, or gives the one issued before. `now` in ms since the epoch. Throws PeerError when the server's is not X.509. */
  issue(request: MintRequest, now: number): Promise<Minted>;
  counters(): MintCounters;
  /** Forgets what was issued; answers how many. */
  flush(): number;
}

export interface MintOptions {
  /** The longest time, in ms, that a certificate is issued for. */
  readonly maxValidity?: number;
  /** Certificates kept. */
  readonly cacheSize?: number;
  /** Bytes of PEM kept: a server's certificate may be 100 KB of names. */
  readonly cacheBytes?: number;
  /** ms that a certificate is kept. */
  readonly cacheTime?: number;
  readonly rsaPoolSize?: number;
  readonly rsaKeyUses?: number;
  readonly rsaKeyTime?: number;
  readonly shared?: SharedCertificates | undefined;
}

const HOUR = 3600 * 1000;
const DAY = 24 * HOUR;

/**
 * Issues the certificates that clients are shown: product.md, section 4. Same server within the cache's time, same
 * certificate; and however many ask for it at once, it is issued once.
 */
export function createMint(authorities: Authorities, options: MintOptions, now: number): Mint {
  const { maxValidity = 90 * DAY, cacheSize = 10_000, cacheBytes = 64 * 2 ** 20, cacheTime = DAY } = options;
  const { rsaPoolSize = 2, rsaKeyUses = 100, rsaKeyTime = DAY, shared: others } = options;
  const pool = createRsaPool({ size: rsaPoolSize, uses: rsaKeyUses, time: rsaKeyTime }, now);
  const cache = createCache<Minted>({ entries: cacheSize, bytes: cacheBytes });
  const count = { minted: 0, shared: 0, failed: 0 };

  const kept = (minted: Minted, at: number) => ({
    value: minted,
    // A mirrored certificate that is expired already is not refreshed by issuing it again.
    until: minted.notAfter > at ? Math.min(at + cacheTime, minted.notAfter) : at + cacheTime,
    bytes: minted.certificatePem.length + minted.keyPem.length,
  });
  const takeOrMint = async (name: string, request: MintRequest, authority: Authority, at: number) => {
    try {
      const shared = await others?.find(name);
      if (shared) {
        count.shared += 1;
        return kept(shared, at);
      }
      const key = request.keyType === "rsa" ? await pool.take(at) : makeEcdsaKey();
      const made = kept(await mint(request, authority, key, maxValidity, at), at);
      count.minted += 1;
      others?.put(name, made.value, made.until);
      return made;
    } catch (error) {
      count.failed += 1;
      throw error;
    }
  };

  return {
    async issue(request, at) {
      const authority = authorities.find(request.authority, request.keyType);
      // The CA is part of the name: once it is renewed, what the old one signed is no longer shown.
      const name = `${sha256(request.certificate)} ${authority.sha256} ${request.authority} ${request.keyType}`;
      return await cache.take(name, at, () => takeOrMint(name, request, authority, at));
    },
    counters() {
      const { ready, made } = pool.counters();
      const { hits, evicted, size } = cache;
      return { ...count, hits, evicted, entries: size, rsaKeysReady: ready, rsaKeysMade: made };
    },
    flush: cache.flush,
  };
}

/** Issues one certificate: what is copied from the server's, and what is the node's own. */
async function mint(
  request: MintRequest,
  authority: Authority,
  key: IssuedKey,
  maxValidity: number,
  now: number,
): Promise<Minted> {
  const original = mirror(request.certificate);
  const validity = mirrorValidity(original, authority, maxValidity, now);
  const serial = randomSerial();
  const der = await issueCertificate(
    {
      serial,
      issuer: authority.name,
      subject: original.subject,
      ...validity,
      publicKey: key.publicKey,
      extensions: mirrorExtensions(original, key.publicKey, request.keyType === "rsa", authority.keyId),
    },
    authority.key,
  );
  return {
    certificatePem: toPem(der) + authority.chainPem,
    keyPem: key.keyPem,
    serial: serial.toString("hex"),
    sha256: sha256(der),
    keyType: request.keyType,
    authority: request.authority,
    notAfter: validity.notAfter,
  };
}

/** A key of its own for every certificate: 0.1 ms, less than handing the work to another thread and back. */
function makeEcdsaKey(): IssuedKey {
  const { publicKey, privateKey } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "der" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return { publicKey, keyPem: privateKey };
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}
