/** Object identifiers, as the hex of their DER contents. */
export const OID = {
  /** Attributes of names: RFC 5280, appendix A.1. */
  commonName: "550403",
  organization: "55040a",
  organizationalUnit: "55040b",

  /** Extensions of certificates and revocation lists: RFC 5280, sections 4.2 and 5.2. */
  subjectKeyIdentifier: "551d0e",
  keyUsage: "551d0f",
  subjectAltName: "551d11",
  basicConstraints: "551d13",
  cRLNumber: "551d14",
  reasonCode: "551d15",
  deltaCrlIndicator: "551d1b",
  issuingDistributionPoint: "551d1c",
  nameConstraints: "551d1e",
  crlDistributionPoints: "551d1f",
  certificatePolicies: "551d20",
  policyMappings: "551d21",
  authorityKeyIdentifier: "551d23",
  policyConstraints: "551d24",
  extendedKeyUsage: "551d25",
  inhibitAnyPolicy: "551d36",
  authorityInformationAccess: "2b06010505070101",
  /** RFC 7633. */
  tlsFeature: "2b06010505070118",
  /** RFC 9608. */
  noRevocationAvailable: "551d38",

  /** Purposes in extendedKeyUsage: RFC 5280, section 4.2.1.12. */
  anyExtendedKeyUsage: "551d2500",
  serverAuth: "2b06010505070301",
  ocspSigning: "2b06010505070309",

  /** RFC 6960. */
  ocsp: "2b06010505073001",
  caIssuers: "2b06010505073002",
  ocspBasic: "2b0601050507300101",

  /** Hashes: RFC 3279, section 2.1, and RFC 5754, section 2. */
  sha1: "2b0e03021a",
  sha224: "608648016503040204",
  sha256: "608648016503040201",
  sha384: "608648016503040202",
  sha512: "608648016503040203",

  /** CMS: RFC 5652. */
  signedData: "2a864886f70d010702",

  /** Signatures: RFC 4055, RFC 5758, RFC 8410. */
  rsaPss: "2a864886f70d01010a",
  rsaSha256: "2a864886f70d01010b",
  rsaSha384: "2a864886f70d01010c",
  rsaSha512: "2a864886f70d01010d",
  ecdsaSha256: "2a8648ce3d040302",
  ecdsaSha384: "2a8648ce3d040303",
  ecdsaSha512: "2a8648ce3d040304",
  /** FIPS 204 and 205: RFC 9881, RFC 9909. */
  mlDsa44: "608648016503040311",
  mlDsa65: "608648016503040312",
  mlDsa87: "608648016503040313",
  slhDsa: "6086480165030403",

  ed25519: "2b6570",
  ed448: "2b6571",
} as const;

/** The dotted form of an object identifier: "2.5.29.15" for "551d0f". */
export function dottedOid(oid: string): string {
  const arcs = [0n];
  for (const byte of Buffer.from(oid, "hex")) {
    arcs.push((arcs.pop()! << 7n) | BigInt(byte & 0x7f));
    if (byte < 0x80) arcs.push(0n);
  }
  const [first = 0n, ...rest] = arcs.slice(0, -1);
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...rest].join(".");
}
