import type { X509Certificate } from "node:crypto";

/** From when to when, in ms since the epoch. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * The dates of a certificate; NaN for one that is none, which OpenSSL takes whatever stands there. Node's own Date is then whatever
 * its memory held, any year at all, and only the text tells: OpenSSL prints "Bad time value".
 */
export function readValidity(certificate: X509Certificate): Validity {
  const { validFrom, validTo, validFromDate, validToDate } = certificate;
  return {
    notBefore: validFrom.endsWith(" GMT") ? validFromDate.getTime() : Number.NaN,
    notAfter: validTo.endsWith(" GMT") ? validToDate.getTime() : Number.NaN,
  };
}
