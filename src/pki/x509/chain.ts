import { X509Certificate } from "node:crypto";

/** The trusted roots. */
export interface RootSet {
  has(certificate: X509Certificate): boolean;
  /** The roots with the name of the certificate's issuer. */
  issuersOf(certificate: X509Certificate): readonly X509Certificate[];
  readonly size: number;
}

/** `pems`: one certificate each. */
export function createRootSet(pems: readonly string[]): RootSet {
  const byName = new Map<string, X509Certificate[]>();
  const known = new Set<string>();
  for (const pem of pems) {
    const root = new X509Certificate(pem);
    if (known.has(root.fingerprint256)) continue;
    known.add(root.fingerprint256);
    const name = foldName(root.subject);
    byName.set(name, [...(byName.get(name) ?? []), root]);
  }
  return {
    has: (certificate) => known.has(certificate.fingerprint256),
    issuersOf: (certificate) => byName.get(foldName(certificate.issuer)) ?? [],
    size: known.size,
  };
}

/** RFC 5280, section 7.1: case and repeated spaces make no difference. Node's undefined is an empty name. */
function foldName(name: string | undefined): string {
  return (name ?? "").toLowerCase().replaceAll(/ +/g, " ");
}

export interface Chain {
  /** The server's certificate first, then each certificate's issuer. */
  readonly path: readonly X509Certificate[];
  /** Whether the last certificate of `path` is a trusted root. */
  readonly anchored: boolean;
}

/** More than an honest server needs, and few enough that a hostile one cannot keep a worker busy. */
const MAX_SENT = 32;
const MAX_LENGTH = 10;
const MAX_SIGNATURES = 24;

/**
 * Finds a chain from `leaf` to a trusted root through the certificates that the server sent with it, which may be in any
 * order (RFC 8446, section 4.4.2). Checks every signature, but no dates: an expired certificate can still have a
 * trusted issuer. Answers the longest chain when none reaches a root.
 */
export function findChain(leaf: X509Certificate, roots: RootSet, sentAlong: readonly X509Certificate[]): Chain {
  const sent = sentAlong.slice(0, MAX_SENT);
  let signatures = 0;
  let longest: readonly X509Certificate[] = [leaf];

  const signed = (certificate: X509Certificate, issuer: X509Certificate): boolean => {
    if (!certificate.checkIssued(issuer) || signatures >= MAX_SIGNATURES) return false;
    signatures += 1;
    return verifies(certificate, issuer);
  };
  const climb = (path: readonly X509Certificate[]): readonly X509Certificate[] | undefined => {
    const top = path.at(-1)!;
    if (path.length > longest.length) longest = path;
    if (roots.has(top)) return path;
    const root = roots.issuersOf(top).find((issuer) => signed(top, issuer));
    if (root) return [...path, root];
    if (path.length >= MAX_LENGTH) return undefined;
    for (const issuer of sent) {
      if (path.some((step) => step.fingerprint256 === issuer.fingerprint256) || !signed(top, issuer)) continue;
      const found = climb([...path, issuer]);
      if (found) return found;
    }
    return undefined;
  };

  const anchored = climb([leaf]);
  return anchored ? { path: anchored, anchored: true } : { path: longest, anchored: false };
}

/** Whether the issuer's name, key identifier and key match the certificate. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && verifies(certificate, issuer);
}

function verifies(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    // OpenSSL does not know the kind of key.
    return false;
  }
}

export function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}
