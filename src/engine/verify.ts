import { Cache } from "../cache.ts";
import { InvariantError } from "../errors.ts";
import { CALL, called, calling } from "../linux/last-call.ts";
import { takeError } from "./errors.ts";
import { addressOf, callback, crypto, memory, rethrow } from "./native.ts";
import { withPem } from "./pem.ts";

/**
 * Verifies the chains of servers as OpenSSL's TLS client does, but outside of the handshake: a busy server shows the same chain
 * often, and it is verified once. All errors of a chain are found, because the verification goes on after each.
 */

/** X509_V_ERR_*, of x509_vfy.h, by the names that Node has for them. */
const NAMES = new Map<number, string>([
  [2, "UNABLE_TO_GET_ISSUER_CERT"],
  [3, "UNABLE_TO_GET_CRL"],
  [4, "UNABLE_TO_DECRYPT_CERT_SIGNATURE"],
  [5, "UNABLE_TO_DECRYPT_CRL_SIGNATURE"],
  [6, "UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY"],
  [7, "CERT_SIGNATURE_FAILURE"],
  [8, "CRL_SIGNATURE_FAILURE"],
  [9, "CERT_NOT_YET_VALID"],
  [10, "CERT_HAS_EXPIRED"],
  [11, "CRL_NOT_YET_VALID"],
  [12, "CRL_HAS_EXPIRED"],
  [13, "ERROR_IN_CERT_NOT_BEFORE_FIELD"],
  [14, "ERROR_IN_CERT_NOT_AFTER_FIELD"],
  [15, "ERROR_IN_CRL_LAST_UPDATE_FIELD"],
  [16, "ERROR_IN_CRL_NEXT_UPDATE_FIELD"],
  [17, "OUT_OF_MEM"],
  [18, "DEPTH_ZERO_SELF_SIGNED_CERT"],
  [19, "SELF_SIGNED_CERT_IN_CHAIN"],
  [20, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"],
  [21, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  [22, "CERT_CHAIN_TOO_LONG"],
  [23, "CERT_REVOKED"],
  [24, "INVALID_CA"],
  [25, "PATH_LENGTH_EXCEEDED"],
  [26, "INVALID_PURPOSE"],
  [27, "CERT_UNTRUSTED"],
  [28, "CERT_REJECTED"],
]);

/** Chains whose result is remembered, and for how long in ms: dates pass. */
const REMEMBERED = 2_000;
const FRESH = 60_000;

/** Goes on after each error, so that the last one remains to be asked for. */
const goOn = callback("verify", "int", ["int", "uintptr_t"], 0, () => 1);

/** A reload replaces the roots while handshakes still verify with those before: the last that holds them lets them go. */
const unused = new FinalizationRegistry((store: number) => crypto.X509_STORE_free(store));

/** The trusted roots. */
export class TrustStore {
  readonly #store: number;
  /** "": no error. */
  readonly #known = new Cache<string>({
    ...{ entries: REMEMBERED, bytes: 2 ** 20 },
    sizeOf: (error) => error.length,
  });

  /** `roots`: PEM, one certificate each. Those that cannot be read are left out: they were checked before. */
  constructor(roots: readonly string[]) {
    this.#store = crypto.X509_STORE_new();
    if (this.#store === 0) throw new InvariantError("X509_STORE_new failed");
    unused.register(this, this.#store);
    for (const pem of roots) {
      const root = withPem(pem, (bio) => crypto.PEM_read_bio_X509(bio, 0, 0, 0));
      if (root !== 0) {
        crypto.X509_STORE_add_cert(this.#store, root);
        crypto.X509_free(root);
      }
      takeError();
    }
  }

  /**
   * The last error that OpenSSL finds in this chain of a TLS server, by Node's name for it: "UNSPECIFIED" for one that has none.
   * Undefined: there is none. The host name is not looked at. `ders`: the server's own first; `key` names these bytes. `level`: the security level
   * of the connection. `now` in ms since the epoch.
   */
  verify(
    { ders, key }: { readonly ders: readonly Buffer[]; readonly key: string },
    level: number,
    now: number,
  ): string | undefined {
    const name = `${level} ${key}`;
    const known = this.#known.find(name, now);
    if (known !== undefined) return known === "" ? undefined : known;
    const error = this.#verify(ders, level);
    this.#known.keep(name, error ?? "", now + FRESH);
    return error;
  }

  #verify(chain: readonly Buffer[], level: number): string | undefined {
    const certificates = chain.map(decode);
    const context = crypto.X509_STORE_CTX_new();
    const untrusted = crypto.sk_new_null();
    try {
      const [leaf] = certificates;
      if (leaf === undefined || leaf === 0) return "UNSPECIFIED";
      for (const one of certificates) if (one !== 0) crypto.sk_push(untrusted, one);
      if (crypto.X509_STORE_CTX_init(context, this.#store, leaf, untrusted) !== 1) return "UNSPECIFIED";
      crypto.X509_STORE_CTX_set_default(context, "ssl_server");
      crypto.X509_VERIFY_PARAM_set_auth_level(crypto.X509_STORE_CTX_get0_param(context), level);
      crypto.X509_STORE_CTX_set_verify_cb(context, goOn);
      calling(CALL.X509_verify_cert, -1);
      const result = crypto.X509_verify_cert(context);
      called();
      rethrow();
      const error = crypto.X509_STORE_CTX_get_error(context);
      if (error === 0) return result === 1 ? undefined : "UNSPECIFIED";
      return NAMES.get(error) ?? "UNSPECIFIED";
    } finally {
      crypto.X509_STORE_CTX_free(context);
      crypto.sk_free(untrusted);
      for (const one of certificates) if (one !== 0) crypto.X509_free(one);
      takeError();
    }
  }
}

/** 0: it is not X.509. The caller frees it. */
function decode(der: Buffer): number {
  const bytes = memory(der.length);
  der.copy(bytes);
  const cursor = memory(8);
  cursor.writeBigUInt64LE(BigInt(addressOf(bytes)));
  const certificate = crypto.d2i_X509(0, cursor, bytes.length);
  // Used once more, so that it cannot be collected while OpenSSL reads it.
  bytes.fill(0);
  return certificate;
}
