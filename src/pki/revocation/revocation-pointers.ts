import type { CertificateParts } from "../x509/certificate.ts";
import { type Element, oidOf, readElements, readInside, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";

/** What a certificate says about its revocation: whom to ask, and what it requires. */
export interface Pointers {
  /** URLs of OCSP responders, in the certificate's order. */
  readonly responders: readonly string[];
  /** Revocation lists, each with all the names of its distribution point. */
  readonly lists: readonly { readonly url: string; readonly names: readonly string[] }[];
  /** Its server must staple an OCSP response: RFC 7633. */
  readonly mustStaple: boolean;
  /** Its issuer publishes no revocation information: RFC 9608. */
  readonly noRevocationAvailable: boolean;
}

/** More than an honest certificate has. Each can cost a timeout. */
const MAX_POINTERS = 3;

/** status_request and status_request_v2: RFC 7633, section 4. */
const STAPLES = [5, 17];

/**
 * Reads the pointers of a certificate. Only http URLs count: to ask over TLS could need the very answer (RFC 5280,
 * section 8). Throws PeerError.
 */
export function readPointers({ extensions }: CertificateParts): Pointers {
  const inside = (name: "tlsFeature" | "authorityInformationAccess" | "crlDistributionPoints"): Element[] => {
    const extension = extensions.get(OID[name]);
    return extension ? readInside(extension.value, TAG.sequence, name) : [];
  };
  const features = inside("tlsFeature").map(({ content }) => (content.length === 1 ? content[0]! : -1));
  return {
    responders: inside("authorityInformationAccess").flatMap(accessUrls(OID.ocsp)).slice(0, MAX_POINTERS),
    lists: inside("crlDistributionPoints").flatMap(readDistributionPoint).slice(0, MAX_POINTERS),
    mustStaple: features.some((feature) => STAPLES.includes(feature)),
    noRevocationAvailable: extensions.has(OID.noRevocationAvailable),
  };
}

/** Where a certificate's issuer has its own certificate: RFC 5280, section 4.2.2.1. Only http URLs count. Throws PeerError. */
export function readIssuerUrls({ extensions }: CertificateParts): readonly string[] {
  const access = extensions.get(OID.authorityInformationAccess);
  const descriptions = access ? readInside(access.value, TAG.sequence, "authorityInformationAccess") : [];
  return descriptions.flatMap(accessUrls(OID.caIssuers)).slice(0, MAX_POINTERS);
}

/** AccessDescription: RFC 5280, section 4.2.2.1. */
function accessUrls(wanted: string): (description: Element) => string[] {
  return ({ content }) => {
    const [method, location] = readElements(content);
    return oidOf(method) === wanted && location ? httpUrls([location]) : [];
  };
}

/**
 * DistributionPoint: RFC 5280, section 4.2.1.13. Skips one with reasons, which covers only these, and one with a
 * cRLIssuer, which is another issuer's list: neither shows that a certificate is good.
 */
function readDistributionPoint({ content }: Element): Pointers["lists"] {
  const [name, ...others] = readElements(content);
  if (name?.tag !== 0xa0 || others.length > 0) return [];
  const names = fullNames(name.content);
  return names.map((url) => ({ url, names }));
}

/** The URLs of a DistributionPointName that is a fullName. */
export function fullNames(bytes: Buffer): string[] {
  const [choice] = readElements(bytes);
  return choice?.tag === 0xa0 ? httpUrls(readElements(choice.content)) : [];
}

/** uniformResourceIdentifier of GeneralName: RFC 5280, section 4.2.1.6. */
const URI = 0x86;
const MAX_URL = 2048;

function httpUrls(names: readonly Element[]): string[] {
  return names.flatMap(({ tag, content }) => {
    if (tag !== URI || content.length > MAX_URL) return [];
    const url = URL.parse(content.toString("latin1"));
    const usable = url?.protocol === "http:" && url.username === "" && url.password === "" && url.hostname !== "";
    return usable ? [url.href] : [];
  });
}
