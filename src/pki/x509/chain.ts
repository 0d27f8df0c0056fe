import { X509Certificate } from "node:crypto";

/** The trusted roots, ready to be looked up. Made once, from PEM. */
export interface RootSet {
  has(certificate: X509Certificate): boolean;
  /** Those of the name that a certificate gives for its issuer. */
  issuersOf(certificate: X509Certificate): readonly X509Certificate[];
  readonly size: number;
}

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

/** Names are compared without regard to case and runs of spaces: RFC 5280, section 7.1. Node answers undefined for an empty one. */
function foldName(name: string | undefined): string {
  return (name ?? "").toLowerCase().replaceAll(/ +/g, " ");
}

/** From the server's certificate upward. */
export interface Chain {
  readonly path: readonly X509Certificate[];
  /** The last of `path` is a trusted root. */
  readonly anchored: boolean;
}

/** Far more than an honest server needs, and little enough that a hostile one cannot keep a worker busy. */
const MAX_SENT = 32;
const MAX_LENGTH = 10;
const MAX_SIGNATURES = 24;

/**
 * Finds a chain from `leaf` to a trusted root among the certificates that the server sent along with it, in whatever
 * order they came: RFC 8446, section 4.4.2. Every link's signature is checked, no dates are: whether somebody we trust
 * stands behind a certificate is a question apart from whether it has expired. Without a root, the longest chain found.
 */
export function findChain(
  leaf: X509Certificate,
  roots: RootSet,
  sentAlong: readonly X509Certificate[] = certificatesSentWith(leaf),
): Chain {
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

/** Node links each certificate to the one that was sent behind it, whether or not that one issued it. */
export function certificatesSentWith(leaf: X509Certificate): X509Certificate[] {
  const sent = new Map<string, X509Certificate>();
  let next = leaf.issuerCertificate;
  while (next && sent.size < MAX_SENT && !sent.has(next.fingerprint256)) {
    sent.set(next.fingerprint256, next);
    next = next.issuerCertificate;
  }
  return [...sent.values()];
}

function verifies(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.verify(issuer.publicKey);
  } catch {
    // A key of a kind that OpenSSL does not know proves nothing.
    return false;
  }
}

/** Whether a certificate names itself as its issuer. */
export function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}
