import type { Role } from "./authority-files.ts";
import type { LeafKeyType } from "./leaf-kind.ts";

/** An issued certificate with its key, as plain data for the channel to a worker. The key is a secret: never log it. */
export interface Minted {
  /** PEM: the issued certificate, then the signing CA and those above it, without the root. */
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly serial: string;
  readonly sha256: string;
  readonly keyType: LeafKeyType;
  readonly authority: Role;
  /** The OCSP response for clients that ask for one, in base64; absent from one that an older node issued. */
  readonly ocsp?: string;
  /** ms since the epoch. */
  readonly notAfter: number;
}

/** The memory that it takes, in bytes. The server chooses its names, and the CA's key the length of the OCSP response. */
export function sizeOfMinted({ certificatePem, keyPem, ocsp = "" }: Minted): number {
  return certificatePem.length + keyPem.length + ocsp.length;
}
