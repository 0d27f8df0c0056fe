import { generateKeyPairSync } from "node:crypto";
import { KEY_USAGE } from "../../x509/certificate.ts";
import { encodeExtension } from "../../x509/certificate-writing.ts";
import { encode, encodeOid, TAG } from "../../x509/der.ts";
import { OID } from "../../x509/oid.ts";
import { accepted, below, type CertificateCase, leafOf, ROOT, refused, type Shown } from "./certificate-case.ts";
import { DAY, dns, nameConstraints, type Wanted, write } from "./writing.ts";

const CLIENT_AUTH = "2b06010505070302";
const MICROSOFT_SGC = "2b0601040182370a0303";
const NETSCAPE_SGC = "6086480186f8420401";
const PURPOSE = ["INVALID_PURPOSE"];
const USAGE = ["KEYUSAGE_NO_DIGITAL_SIGNATURE"];
const rsaKeys = generateKeyPairSync("rsa", { modulusLength: 2048 });

const used = (use: "sign" | "encipher", wanted: Wanted) => (): Shown => ({ ...leafOf(wanted)(), use });
const criticalPurpose = encodeExtension(OID.extendedKeyUsage, true, encode(TAG.sequence, encodeOid(OID.serverAuth)));

/** extendedKeyUsage and keyUsage. */
export const PURPOSES: readonly CertificateCase[] = [
  accepted("no extendedKeyUsage", "rfc5280::eku::ee-without-eku", leafOf({ without: ["extendedKeyUsage"] })),
  refused("a purpose for clients only", "rfc5280::eku::ee-wrong-eku", leafOf({ purposes: [CLIENT_AUTH] }), PURPOSE),
  refused("an empty extendedKeyUsage", "rfc5280::eku::ee-eku-empty", leafOf({ purposes: [] }), PURPOSE),
  accepted("anyExtendedKeyUsage only", undefined, leafOf({ purposes: [OID.anyExtendedKeyUsage] })),
  accepted(
    "anyExtendedKeyUsage beside serverAuth",
    "webpki::eku::ee-anyeku",
    leafOf({ purposes: [OID.serverAuth, OID.anyExtendedKeyUsage] }),
  ),
  accepted(
    "a critical extendedKeyUsage",
    "webpki::eku::ee-critical-eku",
    leafOf({ without: ["extendedKeyUsage"], extensions: [criticalPurpose] }),
  ),
  refused("Microsoft's Server Gated Crypto only", undefined, leafOf({ purposes: [MICROSOFT_SGC] }), PURPOSE),
  refused("Netscape's Server Gated Crypto only", undefined, leafOf({ purposes: [NETSCAPE_SGC] }), PURPOSE),
  refused(
    "both kinds of Server Gated Crypto, for clients too",
    undefined,
    leafOf({ purposes: [MICROSOFT_SGC, NETSCAPE_SGC, CLIENT_AUTH] }),
    PURPOSE,
  ),
  accepted("Server Gated Crypto beside serverAuth", undefined, leafOf({ purposes: [MICROSOFT_SGC, OID.serverAuth] })),
  refused(
    "an intermediate for Microsoft's Server Gated Crypto",
    undefined,
    below({ purposes: [MICROSOFT_SGC] }),
    PURPOSE,
  ),
  refused(
    "an intermediate for Netscape's Server Gated Crypto",
    undefined,
    below({ purposes: [NETSCAPE_SGC] }),
    PURPOSE,
  ),
  accepted("an intermediate for servers", undefined, below({ purposes: [OID.serverAuth] })),
  refused("an intermediate for clients only", undefined, below({ purposes: [CLIENT_AUTH] }), PURPOSE),
  accepted("an intermediate with anyExtendedKeyUsage", undefined, below({ purposes: [OID.anyExtendedKeyUsage] })),
  accepted("a root for servers", "webpki::eku::root-has-eku", () => {
    const root = write({ ca: true, purposes: [OID.serverAuth] });
    return { chain: [write({ issuer: root })], trusted: [root] };
  }),
  {
    what: "a root for clients only",
    shown: () => {
      const root = write({ ca: true, purposes: [CLIENT_AUTH] });
      return { chain: [write({ issuer: root })], trusted: [root] };
    },
    found: PURPOSE,
    browsers: "differ",
    because: "Chrome refuses it for roots that the user has added, and so would the operator who restricted the root.",
  },

  accepted("no keyUsage", "rfc5280::no-keyusage", leafOf({ without: ["keyUsage"] })),
  refused("an ECDSA key for keyEncipherment only", undefined, leafOf({ usage: KEY_USAGE.keyEncipherment }), USAGE),
  refused("an ECDSA key for keyAgreement only", undefined, leafOf({ usage: KEY_USAGE.keyAgreement }), USAGE),
  refused("an ECDSA key for CRLs only", undefined, leafOf({ usage: KEY_USAGE.cRLSign }), USAGE),
  accepted(
    "an ECDSA key for keyEncipherment and signatures",
    undefined,
    leafOf({ usage: KEY_USAGE.keyEncipherment | KEY_USAGE.digitalSignature }),
  ),
  {
    what: "an RSA key for keyEncipherment only, which signed",
    shown: used("sign", { keys: rsaKeys, usage: KEY_USAGE.keyEncipherment }),
    found: USAGE,
    browsers: "differ",
    because: "Chrome refuses a key that did in the handshake what its keyUsage does not allow; Firefox accepts it.",
  },
  accepted(
    "an RSA key for keyEncipherment only, with RSA key exchange",
    undefined,
    used("encipher", { keys: rsaKeys, usage: KEY_USAGE.keyEncipherment }),
  ),
  accepted("an RSA key for signatures only, which signed", undefined, used("sign", { keys: rsaKeys })),
  {
    what: "an RSA key for signatures only, with RSA key exchange",
    shown: used("encipher", { keys: rsaKeys }),
    found: USAGE,
    browsers: "differ",
    because: "As above, the other way round.",
  },
  {
    what: "a server's certificate that may sign certificates",
    limbo: "rfc5280::leaf-ku-keycertsign",
    shown: leafOf({ usage: KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign }),
    found: [],
    browsers: "accept",
    because:
      "RFC 5280 forbids it without basicConstraints; it cannot sign a chain, because that needs basicConstraints.",
  },
  accepted(
    "a CA as a server",
    "rfc5280::ca-as-leaf",
    leafOf({ ca: true, names: [dns("www.example.com")], usage: KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign }),
  ),
  refused(
    "a CA as a server that may not sign in TLS",
    "webpki::ca-as-leaf",
    leafOf({ ca: true, names: [dns("www.example.com")] }),
    USAGE,
  ),

  refused(
    "critical name constraints in a server's certificate",
    "rfc5280::nc::not-allowed-in-ee-critical",
    leafOf({ extensions: [nameConstraints({ permitted: [dns("example.com")] })] }),
    ["INVALID_EXTENSION"],
  ),
  accepted(
    "name constraints in a server's certificate, not critical",
    "rfc5280::nc::not-allowed-in-ee-noncritical",
    leafOf({ extensions: [nameConstraints({ permitted: [dns("example.com")] }, false)] }),
  ),
  refused("an expired certificate for clients", undefined, leafOf({ purposes: [CLIENT_AUTH], from: -60, to: -30 }), [
    "CERT_HAS_EXPIRED",
    ...PURPOSE,
  ]),
  {
    what: "a certificate of ten years",
    shown: leafOf({ to: 3650 }),
    found: [],
    browsers: "accept",
    because:
      "Public CAs are limited to 398 days; browsers do not hold private CAs to it, and the node cannot tell them apart.",
  },
];

/** Dates. */
export const DATES: readonly CertificateCase[] = [
  refused("an expired certificate", "rfc5280::validity::expired-leaf", leafOf({ from: -60, to: -1 }), [
    "CERT_HAS_EXPIRED",
  ]),
  refused(
    "a certificate that expired 5 s ago",
    "rfc5280::validity::expired-5-seconds",
    leafOf({ from: -60, to: -5_000 / DAY }),
    ["CERT_HAS_EXPIRED"],
  ),
  refused(
    "a certificate of the future",
    "rfc5280::validity::not-yet-valid-5-seconds",
    leafOf({ from: 1 / 24, to: 30 }),
    ["CERT_NOT_YET_VALID"],
  ),
  refused("an expired intermediate", "rfc5280::validity::expired-intermediate", below({ from: -60, to: -1 }), [
    "CERT_HAS_EXPIRED",
  ]),
  refused(
    "an expired root",
    "rfc5280::validity::expired-root",
    () => {
      const root = write({ ca: true, from: -60, to: -1 });
      return { chain: [write({ issuer: root })], trusted: [root] };
    },
    ["CERT_HAS_EXPIRED"],
  ),
  accepted("a certificate of the year 2150", undefined, leafOf({ to: 45_000 })),
  accepted("a certificate that outlives its root", undefined, () => {
    const root = write({ ca: true, to: 5 });
    return { chain: [write({ issuer: root, to: 30 })], trusted: [root] };
  }),
  refused(
    "an expired one, self-signed by another key of the root's name",
    undefined,
    () => ({
      chain: [
        write({ issuer: write({ ca: true, subject: "Root" }), from: -60, to: -1, without: ["authorityKeyIdentifier"] }),
      ],
      trusted: [ROOT],
    }),
    ["CERT_HAS_EXPIRED", "CERT_SIGNATURE_FAILURE", "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"],
  ),
];
