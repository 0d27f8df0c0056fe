import { ConfigError } from "../errors.ts";
import { Context } from "./contexts.ts";
import { crypto, ssl } from "./native.ts";

/**
 * What the engine relies on and cannot see while it runs: OpenSSL's version, and that the structures of C are laid out as `loop.ts`
 * and others write them. Called once when a worker starts; the functions themselves were found when `native.ts` was loaded.
 */

/** 3.5: the first with X25519MLKEM768. 0xMNN00PP0L. */
const OLDEST_OPENSSL = 0x30500000;
const NEXT_MAJOR = 0x40000000;
/** OPENSSL_INIT_LOAD_SSL_STRINGS and LOAD_CRYPTO_STRINGS: the texts of errors, for the record. */
const LOAD_STRINGS = 0x200002n;

/** Throws ConfigError when this Node program is not one that the engine can work with. */
export function checkEngine(): void {
  const version = crypto.version();
  if (version < OLDEST_OPENSSL || version >= NEXT_MAJOR) {
    throw new ConfigError(
      "",
      `Cannot start the engine: this Node has OpenSSL 0x${version.toString(16)}, and it needs 3.5 or a later 3.x. Install the Node that package.json names`,
    );
  }
  if (ssl.init(LOAD_STRINGS, 0) !== 1) throw new ConfigError("", "Cannot start the engine: OPENSSL_init_ssl failed");
  new Context({
    role: "client",
    ...{ minVersion: 0x0303, maxVersion: 0x0304, ciphers: "TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256" },
    ...{ groups: "*X25519MLKEM768:X25519", tickets: false, sessions: false, keyLog: false, alpn: [] },
  }).release();
}
