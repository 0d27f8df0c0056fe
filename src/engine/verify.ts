import { X509Certificate } from "node:crypto";
import { InvariantError } from "../errors.ts";
import { CALL, called, calling } from "../linux/last-call.ts";
import { decodeCertificate, encodeCertificate } from "./certificates.ts";
import { takeError } from "./errors.ts";
import { callback, crypto, rethrow } from "./native.ts";
import { withPem } from "./pem.ts";
import { nameVerifyError, SIGNATURE_ERRORS } from "./verify-errors.ts";

/**
 * Verifies the chains of servers with OpenSSL, outside of the handshake: so the chains of TLS and of SSL 3.0 are verified alike.
 * All errors of a chain are found, because the verification goes on after each.
 */

export interface VerifiedChain {
  /** The names of OpenSSL's errors. The last one, which OpenSSL's clients report, comes first. */
  readonly errors: readonly string[];
  /** The server's certificate, then each one's issuer, as far as they are known. Empty: the server's cannot be read. */
  readonly path: readonly X509Certificate[];
  /** Whether the last certificate of `path` is a trusted one, and each signature in it was verified. */
  readonly anchored: boolean;
}

/** X509_V_FLAG_*, of x509_vfy.h. */
const FLAG = { POLICY_CHECK: 0x80, TRUSTED_FIRST: 0x8000, PARTIAL_CHAIN: 0x80000 } as const;

/** RFC 5280, section 6.1.1: any policy will do, if a CA demands that there is one. The object is a constant of OpenSSL's. */
const NID_ANY_POLICY = 746;

/** The most intermediate CAs between the server's certificate and the trusted one. */
const MAX_INTERMEDIATES = 10;

/** Other ways to a trusted certificate that are tried when the first one has errors. Each costs some signatures. */
const MAX_ALTERNATIVES = 4;

/** The errors of the verification that runs. */
let found: number[] = [];

/** Goes on after each error. OpenSSL calls this for certificates without an error, too. */
const goOn = callback("verify", "int", ["int", "uintptr_t"], 0, (ok, context) => {
  if (ok === 0) found.push(crypto.X509_STORE_CTX_get_error(context!));
  return 1;
});

/** A reload replaces the trusted certificates: the last handshake that holds the store lets it go. */
const unused = new FinalizationRegistry((store: number) => crypto.X509_STORE_free(store));

/** The trusted certificates: roots, and what else the user trusts. */
export class TrustStore {
  readonly #store: number;

  /** `trusted`: PEM, one certificate each. Those that cannot be read are left out: they were checked before. */
  constructor(trusted: readonly string[]) {
    this.#store = crypto.X509_STORE_new();
    if (this.#store === 0) throw new InvariantError("X509_STORE_new failed");
    unused.register(this, this.#store);
    for (const pem of trusted) {
      const certificate = withPem(pem, (bio) => crypto.PEM_read_bio_X509(bio, 0, 0, 0));
      if (certificate !== 0) {
        crypto.X509_STORE_add_cert(this.#store, certificate);
        crypto.X509_free(certificate);
      }
      takeError();
    }
  }

  /**
   * Verifies what a server has shown, its own certificate first, in DER. Neither the host name nor any purpose is looked at, and weak
   * keys are no error. `now` in ms since the epoch.
   *
   * OpenSSL tries one path only. If that has errors, others are tried, as browsers do (RFC 4158): with the certificates that were
   * sent before the trusted ones, and without one of those that the path used. The first path without errors counts.
   */
  verify(ders: readonly Buffer[], now: number): VerifiedChain {
    const [leaf = 0, ...sent] = ders.map(decodeCertificate);
    try {
      if (leaf === 0) return UNREADABLE;
      const readable = sent.filter((one) => one !== 0);
      const first = this.#attempt({ leaf, sent: readable, trustedFirst: true }, now);
      if (first.chain.errors.length === 0) return first.chain;
      for (const other of alternatives(leaf, readable, first.used)) {
        const { chain } = this.#attempt(other, now);
        if (chain.errors.length === 0) return chain;
      }
      return first.chain;
    } finally {
      for (const one of [leaf, ...sent]) if (one !== 0) crypto.X509_free(one);
      takeError();
    }
  }

  #attempt({ leaf, sent, trustedFirst }: Attempt, now: number): Attempted {
    const context = crypto.X509_STORE_CTX_new();
    const untrusted = crypto.sk_new_null();
    found = [];
    try {
      for (const one of sent) crypto.sk_push(untrusted, one);
      if (crypto.X509_STORE_CTX_init(context, this.#store, leaf, untrusted) !== 1)
        return { chain: UNREADABLE, used: [] };
      const settings = crypto.X509_STORE_CTX_get0_param(context);
      crypto.X509_VERIFY_PARAM_set_flags(settings, FLAG.PARTIAL_CHAIN | FLAG.POLICY_CHECK);
      crypto.X509_VERIFY_PARAM_add0_policy(settings, crypto.OBJ_nid2obj(NID_ANY_POLICY));
      if (!trustedFirst) crypto.X509_VERIFY_PARAM_clear_flags(settings, FLAG.TRUSTED_FIRST);
      crypto.X509_VERIFY_PARAM_set_depth(settings, MAX_INTERMEDIATES);
      crypto.X509_VERIFY_PARAM_set_time(settings, Math.floor(now / 1000));
      crypto.X509_VERIFY_PARAM_set_auth_level(settings, 0);
      crypto.X509_STORE_CTX_set_verify_cb(context, goOn);
      calling(CALL.X509_verify_cert, -1);
      const result = crypto.X509_verify_cert(context);
      called();
      rethrow();
      if (result !== 1 && found.length === 0) found.push(crypto.X509_STORE_CTX_get_error(context));
      return describe(context);
    } finally {
      crypto.X509_STORE_CTX_free(context);
      crypto.sk_free(untrusted);
    }
  }
}

interface Attempt {
  readonly leaf: number;
  readonly sent: readonly number[];
  /** Trusted certificates are preferred to those that were sent. */
  readonly trustedFirst: boolean;
}

interface Attempted {
  readonly chain: VerifiedChain;
  /** The certificates of the path. Valid as long as they are: only compare them with those that were sent. */
  readonly used: readonly number[];
}

const UNREADABLE: VerifiedChain = { errors: ["UNSPECIFIED"], path: [], anchored: false };

function describe(context: number): Attempted {
  const errors = [...new Set(found.toReversed().map(nameVerifyError))];
  const stack = crypto.X509_STORE_CTX_get0_chain(context);
  const used = Array.from({ length: stack === 0 ? 0 : crypto.sk_num(stack) }, (_, at) => crypto.sk_value(stack, at));
  const path = used.map((certificate) => new X509Certificate(encodeCertificate(certificate)));
  // A certificate with the name of a trusted one's subject as its issuer, but another signature, did not get there.
  const isSigned = !errors.some((error) => SIGNATURE_ERRORS.includes(error));
  const anchored = isSigned && crypto.X509_STORE_CTX_get_num_untrusted(context) < used.length;
  return { chain: { errors, path, anchored }, used };
}

function alternatives(leaf: number, sent: readonly number[], used: readonly number[]): Attempt[] {
  if (sent.length === 0) return [];
  const without = used
    .filter((one) => sent.includes(one))
    .map((one) => ({ leaf, sent: sent.filter((other) => other !== one), trustedFirst: true }));
  return [{ leaf, sent, trustedFirst: false }, ...without].slice(0, MAX_ALTERNATIVES);
}
