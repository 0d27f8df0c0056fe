import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { getPublicSuffix } from "tldts-icann";
import type { CertificateParts } from "../x509/certificate.ts";
import { GENERAL_NAME, readAlternatives } from "../x509/general-name.ts";

/**
 * Whether the certificate is for this host: RFC 9525 with the rules of browsers. Only names in subjectAltName count, never the common
 * name. An address matches only an address. A wildcard is the whole first label and stands for one label, which may have
 * characters that no host name should have, such as "_". Throws PeerError for a subjectAltName that is not DER.
 */
export function matchesHost({ extensions }: CertificateParts, host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, "");
  const alternatives = readAlternatives(extensions);
  if (isIP(name)) {
    const address = Buffer.from(ipaddr.parse(name).toByteArray());
    return alternatives.some(({ tag, content }) => tag === GENERAL_NAME.ip && content.equals(address));
  }
  if (!HOST.test(name)) return false;
  const wanted = new Set([name, ...wildcardsFor(name)]);
  return alternatives.some(({ tag, content }) => {
    // A host has at most 253 characters, and a certificate may have thousands of names.
    if (tag !== GENERAL_NAME.dns || content.length > 256) return false;
    return wanted.has(content.toString("latin1").toLowerCase().replace(/\.$/, ""));
  });
}

/** The host of a key of the node's may be a wildcard itself. */
const HOST = /^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

/**
 * The wildcard that would match a host; none if that would be all names below a public suffix, such as "*.co.uk" or "*.test". Suffixes
 * of private owners, such as "github.io", may have a wildcard: their owners do have one.
 */
function wildcardsFor(host: string): string[] {
  const [, ...rest] = host.split(".");
  const base = rest.join(".");
  const isTooWide = rest.length < 2 || base === getPublicSuffix(host, WITHOUT_CHECKS);
  return isTooWide ? [] : [`*.${base}`];
}

/** The host was checked, and a label with "_" is to count. */
const WITHOUT_CHECKS = { extractHostname: false, validateHostname: false };
