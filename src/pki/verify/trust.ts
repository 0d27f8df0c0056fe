import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { getCACertificates } from "node:tls";
import { ConfigError } from "../../errors.ts";
import { splitPem } from "../x509/certificate.ts";

/** The roots that a server's certificate must reach. */
export interface Trust {
  /** PEM, one certificate each, none twice. */
  readonly roots: readonly string[];
  /** Where the roots that are not the user's came from. "none": the user wants only the files given. */
  readonly source: "system" | "bundled" | "none";
  /** The system's file, when `source` is "system". */
  readonly file: string | undefined;
}

/** Where distributions keep their roots in one file: Debian, Fedora and RHEL, openSUSE, Alpine, and the OpenELEC kind. */
const SYSTEM_FILES = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
  "/etc/pki/tls/cacert.pem",
];

/**
 * Reads the roots: the system's, or when it has none those that Node brings along, and the files of the user's, given
 * as text with their place in the configuration. `files` is where the system's may be.
 * Throws ConfigError for a file of the user's that holds no certificate, or one that cannot be read.
 */
export function readTrust(
  wanted: { readonly system: boolean; readonly extra: readonly { readonly path: string; readonly pem: string }[] },
  files: readonly string[] = SYSTEM_FILES,
): Trust {
  const extra = wanted.extra.flatMap(({ path, pem }) => readExtra(path, pem));
  if (!wanted.system) return { roots: unique(extra), source: "none", file: undefined };
  for (const file of files) {
    const roots = readSystem(file);
    if (roots.length > 0) return { roots: unique([...roots, ...extra]), source: "system", file };
  }
  return { roots: unique([...getCACertificates("bundled"), ...extra]), source: "bundled", file: undefined };
}

function readExtra(path: string, pem: string): string[] {
  const blocks = splitPem(pem);
  if (blocks.length === 0) throw new ConfigError(path, `Cannot use ${path}: there is no PEM certificate in it`);
  const broken = blocks.findIndex((block) => !isCertificate(block));
  if (broken >= 0)
    throw new ConfigError(path, `Cannot use ${path}: its certificate number ${broken + 1} cannot be read`);
  return blocks;
}

/** A system file that is missing or unreadable is like one that is empty: the next one is tried. */
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
