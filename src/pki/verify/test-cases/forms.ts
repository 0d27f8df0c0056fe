import { generateKeyPairSync } from "node:crypto";
import { encodeExtension } from "../../x509/certificate-writing.ts";
import { encode, encodeNull, encodeOid, TAG } from "../../x509/der.ts";
import { OID } from "../../x509/oid.ts";
import { accepted, below, type CertificateCase, leafOf, ROOT, refused, type Shown } from "./certificate-case.ts";
import { dns, newKeys, write } from "./writing.ts";

const UNKNOWN = ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY"];
const SMALL_CA = ["CA_KEY_TOO_SMALL"];
const SMALL_KEY = ["EE_KEY_TOO_SMALL"];
const unknown = encodeExtension("2a030405", true, Buffer.from("0500", "hex"));
const SHA1 = { name: "sha1", algorithm: encode(TAG.sequence, encodeOid("2a864886f70d010105"), encodeNull()) };
const rsa = (bits: number) => generateKeyPairSync("rsa", { modulusLength: bits });
const curve = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const middle = write({ issuer: ROOT, ca: true, subject: "Middle" });
const server = write({ issuer: middle });

/** Signatures, keys, and what certificates look like. */
export const FORMS: readonly CertificateCase[] = [
  refused(
    "a forged signature",
    undefined,
    () => ({ chain: [write({ issuer: { ...ROOT, key: newKeys().privateKey } })], trusted: [ROOT] }),
    ["CERT_SIGNATURE_FAILURE", ...UNKNOWN],
  ),
  refused(
    "an unknown critical extension",
    "rfc5280::unknown-critical-extension-ee",
    leafOf({ extensions: [unknown] }),
    ["UNHANDLED_CRITICAL_EXTENSION"],
  ),
  refused(
    "an unknown critical extension of an intermediate",
    "rfc5280::unknown-critical-extension-intermediate",
    below({ extensions: [unknown] }),
    ["UNHANDLED_CRITICAL_EXTENSION"],
  ),
  accepted(
    "an unknown critical extension of an unused intermediate",
    "rfc5280::unknown-critical-extension-unrelated-intermediate",
    () => ({ chain: [server, write({ issuer: ROOT, ca: true, extensions: [unknown] }), middle], trusted: [ROOT] }),
  ),

  refused("an RSA key of 1024 bits", "webpki::forbidden-weak-rsa-in-leaf", leafOf({ keys: rsa(1024) }), SMALL_KEY),
  refused(
    "an intermediate's RSA key of 1024 bits",
    "webpki::forbidden-weak-rsa-key-in-root",
    below({ keys: rsa(1024) }),
    SMALL_CA,
  ),
  accepted(
    "an RSA key of 2052 bits",
    "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
    leafOf({ keys: rsa(2052) }),
  ),
  refused("a key on P-192", "webpki::forbidden-p192-leaf", leafOf({ keys: curve("prime192v1") }), SMALL_KEY),
  {
    what: "a key on secp256k1",
    shown: leafOf({ keys: curve("secp256k1") }),
    found: [],
    browsers: "refuse",
    because: "Browsers lack the curve, and it is strong: a client that offered it may use it.",
  },
  {
    what: "an Ed25519 key",
    shown: leafOf({ keys: generateKeyPairSync("ed25519") }),
    found: [],
    browsers: "refuse",
    because: "Browsers do not offer it, and it is strong: a client that offered it may use it.",
  },
  {
    what: "an ML-DSA key, signed by an ML-DSA key",
    shown: mlDsa,
    found: [],
    browsers: "refuse",
    because: "Browsers do not offer it yet, and it is strong: a client that offered it may use it.",
  },
  refused(
    "a DSA key",
    "webpki::forbidden-dsa-leaf",
    leafOf({ keys: generateKeyPairSync("dsa", { modulusLength: 2048, divisorLength: 256 }) }),
    SMALL_KEY,
  ),
  refused(
    "explicit parameters of a curve",
    "webpki::explicit-curve",
    leafOf({ keys: generateKeyPairSync("ec", { namedCurve: "P-256", paramEncoding: "explicit" }) }),
    ["EC_KEY_EXPLICIT_PARAMS"],
  ),
  refused("a signature with SHA-1", undefined, sha1, ["CA_MD_TOO_WEAK"]),
  refused(
    "two signature algorithms",
    "rfc5280::mismatching-signature-algorithm",
    leafOf({ outerAlgorithm: encode(TAG.sequence, encodeOid(OID.ecdsaSha384)) }),
    ["CERT_SIGNATURE_FAILURE", ...UNKNOWN],
  ),

  refused(
    "an extension twice",
    "rfc5280::duplicate-extensions",
    leafOf({ extensions: [encodeExtension(OID.subjectAltName, false, encode(TAG.sequence, dns("www.example.com")))] }),
    ["MALFORMED", "HOSTNAME_MISMATCH", ...UNKNOWN],
  ),
  refused("an extension of a version 1 certificate", "webpki::v1-cert", leafOf({ version: 1 }), [
    "EXTENSIONS_REQUIRE_VERSION_3",
  ]),
  {
    what: "the serial number 0",
    limbo: "rfc5280::serial::zero",
    shown: leafOf({ serial: Buffer.from("00", "hex") }),
    found: [],
    browsers: "accept",
    because: "Private CAs issue it, and browsers accept it.",
  },
  {
    what: "a negative serial number",
    limbo: "rfc5280::serial::negative",
    shown: leafOf({ serial: Buffer.from("ff", "hex") }),
    found: [],
    browsers: "accept",
    because: "As above.",
  },
  {
    what: "a serial number of 21 bytes",
    limbo: "rfc5280::serial::too-long",
    shown: leafOf({ serial: Buffer.alloc(21, 1) }),
    found: [],
    browsers: "accept",
    because: "As above.",
  },
  refused(
    "a malformed subjectAltName",
    "rfc5280::san::malformed",
    leafOf({
      without: ["subjectAltName"],
      extensions: [encodeExtension(OID.subjectAltName, false, Buffer.from("malformed"))],
    }),
    ["MALFORMED", "HOSTNAME_MISMATCH", ...UNKNOWN],
  ),
  {
    what: "a CA without a name",
    limbo: "rfc5280::ca-empty-subject",
    shown: below({ subject: "" }),
    found: [],
    browsers: "differ",
    because: "RFC 5280 forbids it; the signature proves the same.",
  },
];

function sha1(): Shown {
  const keys = rsa(2048);
  const root = write({ ca: true, subject: "RSA", keys });
  return { chain: [write({ issuer: root, hash: SHA1 })], trusted: [root] };
}

function mlDsa(): Shown {
  const keys = generateKeyPairSync("ml-dsa-65");
  const hash = { name: null, algorithm: encode(TAG.sequence, encodeOid(OID.mlDsa65)) };
  const root = write({ ca: true, subject: "ML-DSA", keys, hash });
  const leaf = write({ issuer: root, keys: generateKeyPairSync("ml-dsa-44"), hash });
  return { chain: [leaf], trusted: [root] };
}
