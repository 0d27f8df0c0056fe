/** A signature scheme that the node may offer and accept: RFC 8446, section 4.2.3. */
export interface SignatureScheme {
  readonly id: number;
  /** IANA's name; for a pair of TLS 1.2 (RFC 5246, section 7.4.1.4.1) a name of the same form. */
  readonly name: string;
  /** OpenSSL's name, for `sigalgs`. */
  readonly openssl: string;
}

/** The scheme with this number; undefined: the node does not use it. */
export function signatureSchemeById(id: number): SignatureScheme | undefined {
  return BY_ID.get(id);
}

/** Its hash is SHA-256 or longer, or a part of the scheme. */
export function isStrongScheme({ name }: SignatureScheme): boolean {
  return !/_sha(?:1|224)$/.test(name);
}

/**
 * The schemes of OpenSSL 3.5 except MD5 and DSA. SHA-1 and SHA-224 are here because clients of TLS 1.2 still offer them for
 * old servers. The node offers them only when the client does.
 */
export const SIGNATURE_SCHEMES: readonly SignatureScheme[] = [
  [0x0403, "ecdsa_secp256r1_sha256"],
  [0x0503, "ecdsa_secp384r1_sha384"],
  [0x0603, "ecdsa_secp521r1_sha512"],
  [0x081a, "ecdsa_brainpoolP256r1tls13_sha256"],
  [0x081b, "ecdsa_brainpoolP384r1tls13_sha384"],
  [0x081c, "ecdsa_brainpoolP512r1tls13_sha512"],
  [0x0807, "ed25519"],
  [0x0808, "ed448"],
  [0x0904, "mldsa44"],
  [0x0905, "mldsa65"],
  [0x0906, "mldsa87"],
  [0x0804, "rsa_pss_rsae_sha256"],
  [0x0805, "rsa_pss_rsae_sha384"],
  [0x0806, "rsa_pss_rsae_sha512"],
  [0x0809, "rsa_pss_pss_sha256"],
  [0x080a, "rsa_pss_pss_sha384"],
  [0x080b, "rsa_pss_pss_sha512"],
  [0x0401, "rsa_pkcs1_sha256"],
  [0x0501, "rsa_pkcs1_sha384"],
  [0x0601, "rsa_pkcs1_sha512"],
  [0x0303, "ecdsa_sha224"],
  [0x0301, "rsa_pkcs1_sha224"],
  [0x0203, "ecdsa_sha1"],
  [0x0201, "rsa_pkcs1_sha1"],
].map(([id, name]) => ({ id: id as number, name: name as string, openssl: name as string }));

const BY_ID = new Map(SIGNATURE_SCHEMES.map((scheme) => [scheme.id, scheme]));
