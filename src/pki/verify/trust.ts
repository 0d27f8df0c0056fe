import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { getCACertificates } from "node:tls";
import { readCertificates, splitPem } from "../x509/pem.ts";

/** The roots that server certificates must reach. */
export interface Trust {
  /** PEM, one certificate each, without duplicates. */
  readonly roots: readonly string[];
  /** The source of the roots that are not the user's. "none": the user trusts only the given files. */
  readonly source: "system" | "bundled" | "none";
  /** The system's file, when `source` is "system". */
  readonly file: string | undefined;
}

/** Files with all roots of the system: Debian, Fedora and RHEL, openSUSE, Alpine, OpenELEC. */
const SYSTEM_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
  "/etc/pki/tls/cacert.pem",
];

/**
 * Reads the system's roots and those of the user's files. Uses Node's bundled roots when the system has none. `extra`:
 * the user's files with their places in the configuration; `files`: where to look for the system's. Throws ConfigError for
 * a file of the user's that has no certificate or one that cannot be read.
 */
export function readTrust(
  wanted: { readonly system: boolean; readonly extra: readonly { readonly path: string; readonly pem: string }[] },
  files: readonly string[] = SYSTEM_FILES,
): Trust {
  const extra = wanted.extra.flatMap((file) => readCertificates(file.path, file.pem).map(({ pem }) => pem));
  if (!wanted.system) return { roots: unique(extra), source: "none", file: undefined };
  for (const file of files) {
    const roots = readSystem(file);
    if (roots.length > 0) return { roots: unique([...roots, ...extra]), source: "system", file };
  }
  return { roots: unique([...getCACertificates("bundled"), ...extra]), source: "bundled", file: undefined };
}

/** The certificates in the file that can be read; none when the file cannot. */
function readSystem(file: string): string[] {
  try {
    return splitPem(readFileSync(file, "utf8")).filter(isCertificate);
  } catch {
    return [];
  }
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function unique(roots: readonly string[]): string[] {
  return [...new Map(roots.map((pem) => [new X509Certificate(pem).fingerprint256, pem])).values()];
}
