import { type CertificateParts, OID } from "../x509/certificate.ts";
import { type Element, readElements, readInside, TAG } from "../x509/der.ts";

/** Where a certificate says that one may ask whether it was revoked, and what it demands of that. */
export interface Pointers {
  /** OCSP responders, in the certificate's order. */
  readonly responders: readonly string[];
  /** Revocation lists, each with all the names of its distribution point. */
  readonly lists: readonly { readonly url: string; readonly names: readonly string[] }[];
  /** Its owner has promised to staple an answer: RFC 7633. */
  readonly mustStaple: boolean;
  /** Its issuer will never tell: RFC 9608. */
  readonly neverTold: boolean;
}

/** More than an honest certificate has; each costs time. */
const MOST = 3;

/** status_request and status_request_v2: RFC 7633, section 4. */
const STAPLES = [5, 17];

/** Reads them. Only plain http is followed: asking over TLS might take the answer that is asked for (RFC 5280, section 8). Throws PeerError. */
export function readPointers({ extensions }: CertificateParts): Pointers {
  const inside = (oid: string): Element[] => {
    const extension = extensions.get(oid);
    return extension ? readInside(extension.value, TAG.sequence) : [];
  };
  const features = inside(OID.tlsFeature).map(({ content }) => (content.length === 1 ? content[0]! : -1));
  return {
    responders: inside(OID.authorityInformationAccess).flatMap(readResponder).slice(0, MOST),
    lists: inside(OID.crlDistributionPoints).flatMap(readDistributionPoint).slice(0, MOST),
    mustStaple: features.some((feature) => STAPLES.includes(feature)),
    neverTold: extensions.has(OID.noRevocationAvailable),
  };
}

/** AccessDescription: RFC 5280, section 4.2.2.1. */
function readResponder({ content }: Element): string[] {
  const [method, place] = readElements(content);
  return method?.content.toString("hex") === OID.ocsp && place ? httpUrls([place]) : [];
}

/**
 * DistributionPoint: RFC 5280, section 4.2.1.13. One with reasons covers only these, and one with a cRLIssuer is a list of
 * somebody else's: neither can say that a certificate is good.
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

/** The tag of GeneralName's uniformResourceIdentifier. */
const URI = 0x86;
const LONGEST = 2048;

function httpUrls(names: readonly Element[]): string[] {
  return names.flatMap(({ tag, content }) => {
    if (tag !== URI || content.length > LONGEST) return [];
    const url = URL.parse(content.toString("latin1"));
    const usable = url?.protocol === "http:" && url.username === "" && url.password === "" && url.hostname !== "";
    return usable ? [url.href] : [];
  });
}
