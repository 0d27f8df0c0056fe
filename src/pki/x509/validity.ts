import type { X509Certificate } from "node:crypto";

/** The certificate's validity dates, in ms since the epoch. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * A date that cannot be parsed is NaN, which compares as neither valid nor expired. OpenSSL does not reject such a
 * certificate: it prints "Bad time value", and Node's Date then has an arbitrary time from uninitialised memory.
 */
export function readValidity(certificate: X509Certificate): Validity {
  const { validFrom, validTo, validFromDate, validToDate } = certificate;
  return {
    notBefore: validFrom.endsWith(" GMT") ? validFromDate.getTime() : Number.NaN,
    notAfter: validTo.endsWith(" GMT") ? validToDate.getTime() : Number.NaN,
  };
}
