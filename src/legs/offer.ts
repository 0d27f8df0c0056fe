import { RecentAnswers } from "../recent-answers.ts";
import type { SuiteChoice } from "../ssl3/suites.ts";
import { type TlsVersion, VERSIONS, type Version } from "../vocabulary.ts";
import { ALERTS } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { groupWithin } from "../wire/groups.ts";
import { EXTENSIONS } from "../wire/numbers.ts";
import { isStrongScheme, signatureSchemeById } from "../wire/signature-schemes.ts";
import { suiteById } from "../wire/suites.ts";
import { shapeOf } from "./hello-shape.ts";
import type { LegFailure } from "./leg.ts";
import { type Leniency, leniencyFor } from "./strength.ts";

/** The versions that policy allows. */
export interface VersionRange {
  readonly min: Version;
  readonly max: Version;
  /** The cipher suites of SSL 3.0; undefined is all. */
  readonly ssl3Suites?: SuiteChoice;
  /** In TLS 1.2, for clients that offer nothing better: servers with DH below 2,048 bits and signatures below SHA-256. */
  readonly weakTls12?: boolean;
}

/** The versions that OpenSSL speaks, oldest first. */
const TLS_VERSIONS = (Object.keys(VERSIONS) as Version[]).filter((name): name is TlsVersion => name !== "SSLv3");

/** The server leg's offer, in OpenSSL's terms: never more than the client offered, and nothing that policy forbids. */
export interface Offer {
  readonly kind: "offer";
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
  readonly ciphers: string;
  readonly ecdhCurve: string | undefined;
  readonly sigalgs: string | undefined;
  readonly alpn: readonly string[];
  readonly serverName: string | undefined;
  /** The client lets the server ask for its certificate after the handshake. */
  readonly postHandshakeAuth: boolean;
  /** How weak the server may be in TLS 1.2. */
  readonly lenient: Leniency;
}

/**
 * The intersection of what the client and the node support. The ClientHello is not copied but written anew (RFC 8446, section
 * 9.3), because a copy could offer features that OpenSSL does not have. `dhBits`: the largest group over integers.
 */
export function offerFor(hello: ClientHello, allowed: VersionRange, dhBits: number): Offer | LegFailure {
  const terms = recent.take(shapeOf(hello, allowed, dhBits), () => termsFor(hello, allowed, dhBits));
  return terms.kind === "failed" ? terms : { ...terms, alpn: hello.alpnProtocols, serverName: hello.serverName };
}

/** What does not differ between the hosts that a client asks for. */
type Terms = Omit<Offer, "alpn" | "serverName">;

/** To make them out anew for each session takes a tenth of all the memory that a session leaves to be collected. */
const recent = new RecentAnswers<Terms | LegFailure>();

/** Nothing else of the hello may decide than what `shapeOf` has. */
function termsFor(hello: ClientHello, allowed: VersionRange, dhBits: number): Terms | LegFailure {
  const range = commonVersions(hello, allowed);
  if (!range) return nothingShared("protocol version", ALERTS.protocol_version);
  const [min, max] = range;

  const groups = hello.supportedGroups.map(groupWithin(dhBits)).filter((group) => group !== undefined);
  // If the node has none of the client's groups, only suites without groups are offered: OpenSSL would add its own groups.
  const groupless = hello.supportedGroups.length > 0 && groups.length === 0;
  const suites = hello.cipherSuites
    .map(suiteById)
    .filter((suite) => suite !== undefined)
    .filter((suite) => (suite.versions === "1.3" ? max === VERSIONS["TLSv1.3"] : min <= VERSIONS["TLSv1.2"]))
    .filter(({ exchange }) => !groupless || exchange === "dhe" || exchange === "rsa");
  const usable13 = suites.some((suite) => suite.versions === "1.3");
  const usable12 = suites.some((suite) => suite.versions !== "1.3");
  if (!usable12 && !usable13) {
    return nothingShared(groupless ? "group" : "cipher suite", ALERTS.handshake_failure);
  }
  // A version without a suite must not be offered: OpenSSL would add its default suites.
  const lowest = usable12 ? min : VERSIONS["TLSv1.3"];
  const highest = usable13 ? max : Math.min(max, VERSIONS["TLSv1.2"]);

  const schemes = hello.signatureAlgorithms.map(signatureSchemeById).filter((scheme) => scheme !== undefined);
  if (hello.signatureAlgorithms.length > 0 && schemes.length === 0)
    return nothingShared("signature algorithm", ALERTS.handshake_failure);

  // A server must not choose what is weak while the client verifies better. TLS 1.0 and 1.1 know no such list.
  const strong = schemes.filter(isStrongScheme);
  const chosen = strong.length > 0 ? strong : schemes;
  const lenient = leniencyFor(hello, allowed.weakTls12 ?? false);

  // From security level 1 on, OpenSSL refuses MD5 and SHA-1, which TLS 1.0 and 1.1 need.
  const level = lowest < VERSIONS["TLSv1.2"] || (usable12 && (lenient.dh || lenient.hash)) ? ":@SECLEVEL=0" : "";
  return {
    kind: "offer",
    minVersion: nameOf(lowest),
    maxVersion: nameOf(highest),
    ciphers: suites.map(({ openssl }) => openssl).join(":") + level,
    ecdhCurve: groups.length > 0 ? groupList(groups, hello) : undefined,
    sigalgs: chosen.length > 0 ? chosen.map(({ openssl }) => openssl).join(":") : undefined,
    postHandshakeAuth: hello.extensions.includes(EXTENSIONS.post_handshake_auth),
    lenient,
  };
}

/** The highest version that both the client and policy have; undefined: none. */
export function highestShared(hello: ClientHello, allowed: VersionRange): number | undefined {
  return hello.versions.find((version) => version >= VERSIONS[allowed.min] && version <= VERSIONS[allowed.max]);
}

/** Policy allows a version that OpenSSL speaks. */
export function allowsTls({ max }: VersionRange): boolean {
  return max !== "SSLv3";
}

/** The oldest and the newest version for OpenSSL. */
export function tlsRange({ min, max }: VersionRange): {
  readonly minVersion: TlsVersion;
  readonly maxVersion: TlsVersion;
} {
  return {
    minVersion: nameOf(Math.max(VERSIONS[min], VERSIONS.TLSv1)),
    maxVersion: nameOf(Math.max(VERSIONS[max], VERSIONS.TLSv1)),
  };
}

/**
 * The node's own offer, for a client that knows only SSL 3.0: an old client must not weaken the session with a new server. The
 * SNI stays the client's.
 */
export function offerOfNode(hello: ClientHello): ClientHello {
  return {
    ...hello,
    versions: TLS_VERSIONS.map((name) => VERSIONS[name]).reverse(),
    cipherSuites: OWN_SUITES,
    supportedGroups: [],
    keyShareGroups: [],
    signatureAlgorithms: [],
  };
}

/** TLS 1.3, then forward secrecy with AEAD, then CBC for what is older. */
const OWN_SUITES = [
  0x1302, 0x1303, 0x1301, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc02b, 0xc02f, 0x009f, 0xccaa, 0x009e, 0xc00a, 0xc014,
  0x0039, 0xc009, 0xc013, 0x0033, 0x009d, 0x009c, 0x0035, 0x002f,
];

/** The highest range of versions without a gap that both the client and policy allow: OpenSSL takes only a range. */
function commonVersions(hello: ClientHello, allowed: VersionRange): readonly [number, number] | undefined {
  const common = TLS_VERSIONS.map((name): number => VERSIONS[name]).filter(
    (number) => hello.versions.includes(number) && number >= VERSIONS[allowed.min] && number <= VERSIONS[allowed.max],
  );
  const max = common.at(-1);
  if (max === undefined) return undefined;
  let min = max;
  while (common.includes(min - 1)) min -= 1;
  return [min, max];
}

/** OPENSSL_CLIENT_MAX_KEY_SHARES: a list with more marks is refused. */
const MOST_SHARES = 4;

/** OpenSSL sends a key share for each group marked with "*". With the client's own groups no HelloRetryRequest is needed. */
function groupList(groups: readonly { readonly id: number; readonly openssl: string }[], hello: ClientHello): string {
  const shared = groups.filter(({ id }) => hello.keyShareGroups.includes(id)).slice(0, MOST_SHARES);
  return groups.map((group) => (shared.includes(group) ? `*${group.openssl}` : group.openssl)).join(":");
}

function nameOf(version: number): TlsVersion {
  return TLS_VERSIONS.find((name) => VERSIONS[name] === version)!;
}

function nothingShared(what: string, alert: number): LegFailure {
  return {
    kind: "failed",
    cause: "protocol",
    alert,
    code: "NOTHING_SHARED",
    reason: `The client offers no ${what} that this node may use`,
  };
}
