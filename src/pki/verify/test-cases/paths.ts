import { KEY_USAGE } from "../../x509/certificate.ts";
import { encodeExtension } from "../../x509/certificate-writing.ts";
import { encode, TAG } from "../../x509/der.ts";
import { OID } from "../../x509/oid.ts";
import {
  accepted,
  below,
  type CertificateCase,
  leafOf,
  ROOT,
  refused,
  type Shown,
  STRANGER,
} from "./certificate-case.ts";
import { newKeys, type Wanted, type Written, write } from "./writing.ts";

const UNKNOWN = ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY"];
const NO_CA = ["INVALID_CA"];

/** Intermediates below the root, one below the other, and a server's certificate below the last. */
const chainOf =
  (...intermediates: readonly Wanted[]) =>
  (): Shown => {
    const cas: Written[] = [];
    for (const wanted of intermediates)
      cas.unshift(write({ issuer: cas[0] ?? ROOT, ca: true, subject: `CA ${cas.length}`, ...wanted }));
    return { chain: [write({ issuer: cas[0] ?? ROOT }), ...cas], trusted: [ROOT] };
  };
const long = (length: number) => chainOf(...Array.from({ length }, () => ({})));
const shown =
  (make: () => readonly Written[], trusted: readonly Written[] = [ROOT]) =>
  (): Shown => ({ chain: make(), trusted });

const middle = write({ issuer: ROOT, ca: true, subject: "Middle" });
const server = write({ issuer: middle });
const own = write({});
const unknown = encodeExtension("2a030405", true, Buffer.from("0500", "hex"));
const critical = (key: "authorityKeyIdentifier" | "subjectKeyIdentifier", value: Buffer) => ({
  without: [key],
  extensions: [encodeExtension(OID[key], true, value)],
});
const crossed = newKeys();
const strangers = write({ issuer: STRANGER, ca: true, subject: "Crossed", keys: crossed });
const roots = write({ issuer: ROOT, ca: true, subject: "Crossed", keys: crossed });
const belowCrossed = write({ issuer: roots });

/** Chains: how a certificate reaches one that is trusted. */
export const PATHS: readonly CertificateCase[] = [
  accepted("an intermediate of any path length", "pathlen::ee-with-intermediate-pathlen-0", below({ pathLength: 0 })),
  refused(
    "a CA below one of path length 0",
    "pathlen::intermediate-violates-pathlen-0",
    chainOf({ pathLength: 0 }, { pathLength: 0 }),
    ["PATH_LENGTH_EXCEEDED"],
  ),
  accepted(
    "path lengths that increase",
    "pathlen::intermediate-pathlen-may-increase",
    chainOf({ pathLength: 1 }, { pathLength: 2 }),
  ),
  refused(
    "a CA too many below the second",
    "pathlen::intermediate-pathlen-too-long",
    chainOf({ pathLength: 1 }, { pathLength: 0 }, { pathLength: 0 }),
    ["PATH_LENGTH_EXCEEDED"],
  ),
  accepted(
    "a self-issued CA, which does not count",
    "pathlen::self-issued-certs-pathlen",
    chainOf({ subject: "Same", pathLength: 1 }, { subject: "Same", pathLength: 1 }, { pathLength: 0 }),
  ),
  {
    what: "10 intermediates",
    shown: long(10),
    found: [],
    browsers: "differ",
    because: "Firefox accepts 6, Chrome more. 10 is more than any honest server has.",
  },
  {
    what: "11 intermediates",
    shown: long(11),
    found: ["CERT_CHAIN_TOO_LONG", ...UNKNOWN],
    browsers: "differ",
    because: "The bound is 10.",
  },
  refused("30 intermediates", undefined, long(30), ["CERT_CHAIN_TOO_LONG", ...UNKNOWN]),
  refused("100 intermediates", undefined, long(100), ["CERT_CHAIN_TOO_LONG", ...UNKNOWN]),
  accepted(
    "intermediates in any order, with the root and strangers among them",
    undefined,
    shown(() => [server, STRANGER, ROOT, middle]),
  ),
  {
    what: "a missing intermediate",
    limbo: "webpki::cryptographydotio-chain-missing-intermediate",
    shown: shown(() => [server]),
    found: UNKNOWN,
    browsers: "differ",
    because: "Chrome fetches it, Firefox knows those of public CAs; the node fetches it with trust.fetchIntermediates.",
  },
  refused(
    "a root that is not trusted",
    "rfc5280::chain-untrusted-root",
    shown(() => [server, middle, ROOT], [STRANGER]),
    ["SELF_SIGNED_CERT_IN_CHAIN"],
  ),
  refused(
    "a self-signed certificate",
    undefined,
    shown(() => [own]),
    ["DEPTH_ZERO_SELF_SIGNED_CERT"],
  ),
  accepted(
    "a self-signed certificate that is trusted",
    undefined,
    shown(() => [own], [own]),
  ),
  accepted(
    "a trusted intermediate",
    "rfc5280::root-and-intermediate-swapped",
    shown(() => [server, middle, ROOT], [middle]),
  ),
  accepted(
    "a trusted intermediate that the server does not send",
    undefined,
    shown(() => [server], [middle]),
  ),
  accepted(
    "a trusted server's certificate",
    undefined,
    shown(() => [server], [server]),
  ),
  refused(
    "a trusted server's certificate for another server",
    undefined,
    shown(() => [write({ issuer: server, subject: "other" })], [server]),
    ["INVALID_CA", "KEYUSAGE_NO_CERTSIGN"],
  ),
  accepted(
    "a trusted cross-signed CA",
    undefined,
    shown(() => [belowCrossed, strangers], [strangers]),
  ),
  accepted(
    "a cross-signed CA with two ways, one to a trusted root",
    undefined,
    shown(() => [belowCrossed, strangers, roots]),
  ),
  accepted(
    "the same, in the other order",
    undefined,
    shown(() => [belowCrossed, roots, strangers]),
  ),
  accepted(
    "two intermediates with one key, one of them expired",
    "pathological::multiple-chains-expired-intermediate",
    shown(() => [
      belowCrossed,
      write({ issuer: ROOT, ca: true, subject: "Crossed", keys: crossed, from: -60, to: -1 }),
      roots,
    ]),
  ),
  accepted(
    "two intermediates with one key, one of them not for servers",
    "rfc5280::nc::nc-forbids-alternate-chain-ica",
    shown(() => [
      belowCrossed,
      write({ issuer: ROOT, ca: true, subject: "Crossed", keys: crossed, extensions: [unknown] }),
      roots,
    ]),
  ),
  refused("two CAs that signed each other", "pathological::intermediate-cycle-distinct-cas", shown(cycle), UNKNOWN),
  refused(
    "100 CAs of one name and one key",
    "pathological::pathological-chain-same-subject-same-key",
    shown(() => crowd(true)),
    ["SELF_SIGNED_CERT_IN_CHAIN"],
  ),
  refused(
    "100 CAs of one name",
    "pathological::pathological-chain-same-subject-distinct-key",
    shown(() => crowd(false)),
    ["SELF_SIGNED_CERT_IN_CHAIN"],
  ),
  {
    what: "no authorityKeyIdentifier",
    limbo: "rfc5280::aki::leaf-missing-aki",
    shown: below({ without: ["authorityKeyIdentifier"] }, { without: ["authorityKeyIdentifier"] }),
    found: [],
    browsers: "accept",
    because: "Private CAs leave it out, and browsers accept it.",
  },
  {
    what: "no subjectKeyIdentifier",
    limbo: "rfc5280::ski::intermediate-missing-ski",
    shown: below({ without: ["subjectKeyIdentifier"] }),
    found: [],
    browsers: "accept",
    because: "As above.",
  },
  {
    what: "a critical subjectKeyIdentifier",
    limbo: "rfc5280::ski::critical-ski",
    shown: leafOf({ ...critical("subjectKeyIdentifier", encode(TAG.octetString, Buffer.from("01", "hex"))) }),
    found: ["UNHANDLED_CRITICAL_EXTENSION"],
    browsers: "differ",
    because: "RFC 5280, section 4.2.1.2: it must not be critical.",
  },
  refused(
    "an intermediate that is no CA",
    "rfc5280::intermediate-ca-without-ca-bit",
    shown(() => [write({ issuer: server, subject: "other" }), server, middle]),
    ["INVALID_CA", "KEYUSAGE_NO_CERTSIGN"],
  ),
  refused(
    "an intermediate without basicConstraints",
    "rfc5280::intermediate-ca-missing-basic-constraints",
    below({ without: ["basicConstraints"] }),
    NO_CA,
  ),
  refused(
    "an intermediate without keyCertSign",
    "rfc5280::ica-ku-keycertsign",
    below({ usage: KEY_USAGE.digitalSignature }),
    ["INVALID_CA", "KEYUSAGE_NO_CERTSIGN"],
  ),
  refused(
    "a version 1 intermediate",
    undefined,
    below({ version: 1, without: ["basicConstraints", "keyUsage", "subjectKeyIdentifier", "authorityKeyIdentifier"] }),
    NO_CA,
  ),
  accepted("a version 1 root", undefined, () => {
    const root = write({
      ca: true,
      version: 1,
      without: ["basicConstraints", "keyUsage", "subjectKeyIdentifier", "authorityKeyIdentifier"],
    });
    return { chain: [write({ issuer: root })], trusted: [root] };
  }),
];

function cycle(): readonly Written[] {
  const [a, b] = [newKeys(), newKeys()];
  const stub = (subject: string, keys: typeof a) => write({ ca: true, subject, keys });
  const first = write({ issuer: stub("B", b), ca: true, subject: "A", keys: a });
  const second = write({ issuer: stub("A", a), ca: true, subject: "B", keys: b });
  return [write({ issuer: first }), first, second];
}

/** CAs that signed one another, none of them trusted. */
function crowd(sameKey: boolean): readonly Written[] {
  const without = ["authorityKeyIdentifier", "subjectKeyIdentifier"] as const;
  const keys = newKeys();
  const cas: Written[] = [];
  for (let n = 0; n < 100; n += 1) {
    const issuer = cas[0] ? { issuer: cas[0] } : {};
    cas.unshift(write({ ...issuer, ca: true, subject: "Crowd", keys: sameKey ? keys : newKeys(), without }));
  }
  return [write({ issuer: cas[0]!, without: ["authorityKeyIdentifier"] }), ...cas];
}
