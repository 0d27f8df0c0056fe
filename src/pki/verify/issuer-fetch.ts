import { X509Certificate } from "node:crypto";
import { NetworkError, PeerError } from "../../errors.ts";
import { download, type Fetching } from "../revocation/revocation-download.ts";
import { readIssuerUrls } from "../revocation/revocation-pointers.ts";
import { readCertificate } from "../x509/certificate.ts";
import { readElements, readInside, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { fromPem, splitPem } from "../x509/pem.ts";

/**
 * Answers the certificates, in DER, that may be the issuer's, from where the certificate says they are: RFC 5280, section 4.2.2.1.
 * None if there is no such place, or nothing to be had. `deadline` as of performance.now().
 */
export type FetchIssuers = (certificate: X509Certificate, deadline: number) => Promise<readonly Buffer[]>;

/** ms: CAs renew an intermediate long before it ends. */
const KEEP = 6 * 3_600_000;
const KEEP_NOTHING = 60_000;

/** More than one certificate needs; RFC 5280 allows a bundle. */
const MAX_BYTES = 64 * 2 ** 10;
const MAX_CERTIFICATES = 8;

export function createIssuerFetch(fetching: Fetching): FetchIssuers {
  const fetchOne = async (url: string, deadline: number): Promise<readonly Buffer[]> => {
    try {
      return await fetching.cache.issuers.take(url, fetching.clock(), async () => {
        const value = readIssuers(await download(url, MAX_BYTES, deadline, fetching));
        fetching.cache.failures.forget(url);
        return { value, until: fetching.clock() + (value.length > 0 ? KEEP : KEEP_NOTHING) };
      });
    } catch (error) {
      if (error instanceof NetworkError) return [];
      throw error;
    }
  };
  return async (certificate, deadline) => {
    for (const url of urlsOf(certificate)) {
      const found = await fetchOne(url, deadline);
      if (found.length > 0) return found;
    }
    return [];
  };
}

function urlsOf(certificate: X509Certificate): readonly string[] {
  return orNone(() => readIssuerUrls(readCertificate(certificate.raw)));
}

/** Reads one certificate in DER or PEM, or the certificates of a CMS message (RFC 5280, section 4.2.2.1). Anything else is left out. */
export function readIssuers(bytes: Buffer): Buffer[] {
  const text = bytes.toString("latin1");
  const pems = splitPem(text).map((pem) => fromPem(pem, "CERTIFICATE"));
  const found = pems.length > 0 ? pems : [bytes, ...orNone(() => certificatesOfMessage(bytes))];
  return found.filter(isCertificate).slice(0, MAX_CERTIFICATES);
}

/** The certificates field of a SignedData that signs nothing: RFC 5652, sections 3 and 5.1. */
function certificatesOfMessage(bytes: Buffer): Buffer[] {
  const [type, content] = readInside(bytes, TAG.sequence, "ContentInfo");
  if (type?.content.toString("hex") !== OID.signedData || !content) return [];
  const fields = readInside(content.content, TAG.sequence, "SignedData");
  const certificates = fields.find(({ tag }) => tag === 0xa0);
  return certificates ? readElements(certificates.content).map(({ whole }) => whole) : [];
}

function isCertificate(der: Buffer): boolean {
  try {
    return new X509Certificate(der).raw.equals(der);
  } catch {
    return false;
  }
}

/** None when what a stranger wrote cannot be read. */
function orNone<T>(read: () => readonly T[]): readonly T[] {
  try {
    return read();
  } catch (error) {
    if (error instanceof PeerError) return [];
    throw error;
  }
}
