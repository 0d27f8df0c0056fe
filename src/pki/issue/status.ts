import { createHash, type KeyObject, sign } from "node:crypto";
import { promisify } from "node:util";
import { readCertificate } from "../x509/certificate.ts";
import { signatureOf } from "../x509/certificate-writing.ts";
import { encode, encodeGeneralizedTime, encodeInteger, encodeNull, encodeOid, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { keyBits } from "../x509/public-key.ts";

/** A CA as it answers for its own certificates. */
interface Issuer {
  /** A whole DER element. */
  readonly name: Buffer;
  readonly certificate: { readonly raw: Buffer };
  readonly key: KeyObject;
}

const HOUR = 3600 * 1000;
/** How long an answer counts. Issued certificates are kept for a day, and a client may keep a session for hours. */
const LIFETIME = 7 * 24 * HOUR;

const signInBackground = promisify(sign);

/**
 * Writes the OCSP response that says that a certificate of this CA is good: RFC 6960, section 4.2.1, with the profile of RFC 5019. The
 * CA signs itself. `serial`: big-endian, without a leading zero. `now` in ms since the epoch.
 */
export async function writeGoodStatus(
  serial: Buffer,
  { name, certificate, key }: Issuer,
  now: number,
): Promise<Buffer> {
  const { publicKey } = readCertificate(certificate.raw);
  const certId = encode(
    TAG.sequence,
    encode(TAG.sequence, encodeOid(OID.sha1), encodeNull()),
    encode(TAG.octetString, digest(name)),
    encode(TAG.octetString, digest(keyBits(publicKey))),
    encodeInteger(serial),
  );
  // Clients' clocks differ.
  const thisUpdate = encodeGeneralizedTime(now - HOUR);
  const good = encode(0x80);
  const single = encode(TAG.sequence, certId, good, thisUpdate, encode(0xa0, encodeGeneralizedTime(now + LIFETIME)));
  // By name: GnuTLS does not find a CA that is not sent along by its key.
  const body = encode(TAG.sequence, encode(0xa1, name), encodeGeneralizedTime(now), encode(TAG.sequence, single));
  const { algorithm, hash } = signatureOf(key);
  const signature = encode(TAG.bitString, Buffer.from([0]), await signInBackground(hash, body, key));
  const basic = encode(TAG.sequence, body, algorithm, signature);
  return encode(
    TAG.sequence,
    encode(TAG.enumerated, Buffer.from([SUCCESSFUL])),
    encode(0xa0, encode(TAG.sequence, encodeOid(OID.ocspBasic), encode(TAG.octetString, basic))),
  );
}

/** OCSPResponseStatus. */
const SUCCESSFUL = 0;

/** Every client knows SHA-1 (RFC 5019, section 2.1.1), which only names the issuer here and protects nothing. */
function digest(bytes: Buffer): Buffer {
  return createHash("sha1").update(bytes).digest();
}
