import { hash } from "node:crypto";
import { SSLV2, VERSIONS } from "../vocabulary.ts";
import type { ClientHello } from "./client-hello.ts";
import { EXTENSIONS } from "./numbers.ts";
import { textOf } from "./recent-lists.ts";
import type { ServerHello } from "./server-hello.ts";

interface Fingerprints {
  readonly ja3: string;
  readonly ja4: string;
}

/** Fingerprints that were told lately, by what they are made of. Peers choose its length: what is longer is not remembered. */
const recent = new Map<string, Fingerprints>();
const [MOST_RECENT, LONGEST] = [500, 2_048];

/** Both fingerprints. Clients repeat their hellos, and hashing one takes longer than reading it. */
export function fingerprints(hello: ClientHello): Fingerprints {
  const { signatureAlgorithms, versions, alpnProtocols } = hello;
  const key = [ja3Text(hello), textOf(signatureAlgorithms), versions[0], alpnProtocols[0]].join();
  const known = recent.get(key);
  if (known) return known;
  const made = { ja3: ja3(hello), ja4: ja4(hello) };
  if (key.length > LONGEST) return made;
  if (recent.size === MOST_RECENT) recent.clear();
  recent.set(key, made);
  return made;
}

/** The JA3 fingerprint: the MD5, in hexadecimal, of `ja3Text`. */
export function ja3(hello: ClientHello): string {
  return hash("md5", ja3Text(hello));
}

/** The version and four lists in the client's order, without GREASE. */
export function ja3Text(hello: ClientHello): string {
  const { legacyVersion, cipherSuites, extensions, supportedGroups, ecPointFormats } = hello;
  const groups = textOf(supportedGroups);
  return `${legacyVersion},${textOf(cipherSuites)},${extensions.join("-")},${groups},${ecPointFormats.join("-")}`;
}

/** The text of a server's fingerprint, JA3S, which is its MD5: the version, the suite, and the extensions in the server's order. */
export function ja3sText({ legacyVersion, suite, extensions }: ServerHello): string {
  return [legacyVersion, suite, extensions.join("-")].join(",");
}

/**
 * The JA4 fingerprint of a hello over TCP. Suites and extensions are sorted before hashing, so a browser that shuffles its
 * extensions keeps its fingerprint.
 */
export function ja4(hello: ClientHello): string {
  const suites = hello.cipherSuites.map(fourDigits).sort();
  const extensions = hello.extensions
    .filter((type) => type !== EXTENSIONS.server_name && type !== EXTENSIONS.application_layer_protocol_negotiation)
    .map(fourDigits)
    .sort();
  const schemes = hello.signatureAlgorithms.map(fourDigits);
  const described = [extensions.join(","), schemes.join(",")].filter((list) => list !== "").join("_");
  return `${describe(hello)}_${shortHash(suites.join(","))}_${shortHash(extensions.length > 0 ? described : "")}`;
}

/** "t13d1516h2": TCP, version, SNI or not, the numbers of suites and extensions, the first ALPN protocol. */
function describe(hello: ClientHello): string {
  const version = hello.extensions.includes(EXTENSIONS.supported_versions) ? hello.versions[0]! : hello.legacyVersion;
  const name = hello.extensions.includes(EXTENSIONS.server_name) ? "d" : "i";
  const counts = [hello.cipherSuites, hello.extensions].map((list) => `${Math.min(99, list.length)}`.padStart(2, "0"));
  return `t${VERSION_CODES.get(version) ?? "00"}${name}${counts.join("")}${abbreviateAlpn(hello.alpnProtocols[0])}`;
}

const VERSION_CODES = new Map<number, string>([
  [VERSIONS["TLSv1.3"], "13"],
  [VERSIONS["TLSv1.2"], "12"],
  [VERSIONS["TLSv1.1"], "11"],
  [VERSIONS.TLSv1, "10"],
  [VERSIONS.SSLv3, "s3"],
  [SSLV2, "s2"],
]);

/** The first and last character. When one is neither letter nor digit: those of the name in hexadecimal. */
function abbreviateAlpn(protocol: string | undefined): string {
  if (!protocol) return "00";
  const plain = /^[0-9A-Za-z]$/.test(protocol[0]!) && /^[0-9A-Za-z]$/.test(protocol.at(-1)!);
  const text = plain ? protocol : Buffer.from(protocol, "latin1").toString("hex");
  return text[0]! + text.at(-1)!;
}

function fourDigits(value: number): string {
  return value.toString(16).padStart(4, "0");
}

/** For an empty list JA4 has zeros instead of a hash. */
function shortHash(text: string): string {
  return text === "" ? "000000000000" : hash("sha256", text).slice(0, 12);
}
