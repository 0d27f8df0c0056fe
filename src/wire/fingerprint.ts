import { createHash } from "node:crypto";
import type { ClientHello } from "./client-hello.ts";

const SERVER_NAME = 0;
const ALPN = 16;
const SUPPORTED_VERSIONS = 43;

/** The JA3 fingerprint: the MD5, in hexadecimal, of five lists as they stand, GREASE left out. */
export function ja3(hello: ClientHello): string {
  const lists = [hello.cipherSuites, hello.extensions, hello.supportedGroups, hello.ecPointFormats];
  const text = [hello.legacyVersion, ...lists.map((list) => list.join("-"))].join(",");
  return createHash("md5").update(text).digest("hex");
}

/**
 * The JA4 fingerprint of a hello over TCP. Suites and extensions are sorted before they are hashed, so a browser that
 * shuffles its extensions keeps its fingerprint.
 */
export function ja4(hello: ClientHello): string {
  const suites = hello.cipherSuites.map(hex).sort();
  const extensions = hello.extensions
    .filter((type) => type !== SERVER_NAME && type !== ALPN)
    .map(hex)
    .sort();
  const schemes = hello.signatureAlgorithms.map(hex);
  const described = [extensions.join(","), schemes.join(",")].filter((list) => list !== "").join("_");
  return `${describe(hello)}_${shortHash(suites.join(","))}_${shortHash(extensions.length > 0 ? described : "")}`;
}

/** "t13d1516h2": TCP, version, SNI or not, how many suites and extensions, the first ALPN protocol. */
function describe(hello: ClientHello): string {
  const version = hello.extensions.includes(SUPPORTED_VERSIONS) ? hello.versions[0]! : hello.legacyVersion;
  const name = hello.extensions.includes(SERVER_NAME) ? "d" : "i";
  const counts = [hello.cipherSuites, hello.extensions].map((list) => `${Math.min(99, list.length)}`.padStart(2, "0"));
  return `t${VERSION_CODES.get(version) ?? "00"}${name}${counts.join("")}${abbreviateAlpn(hello.alpnProtocols[0])}`;
}

const VERSION_CODES = new Map([
  [0x0304, "13"],
  [0x0303, "12"],
  [0x0302, "11"],
  [0x0301, "10"],
  [0x0300, "s3"],
  [0x0002, "s2"],
]);

/** The first and last character, or those of the hexadecimal text when either is neither letter nor digit. */
function abbreviateAlpn(protocol: string | undefined): string {
  if (!protocol) return "00";
  const plain = /^[0-9A-Za-z]$/.test(protocol[0]!) && /^[0-9A-Za-z]$/.test(protocol.at(-1)!);
  const text = plain ? protocol : Buffer.from(protocol, "latin1").toString("hex");
  return text[0]! + text.at(-1)!;
}

function hex(value: number): string {
  return value.toString(16).padStart(4, "0");
}

/** An empty list has zeros instead of the hash of nothing. */
function shortHash(text: string): string {
  return text === "" ? "000000000000" : createHash("sha256").update(text).digest("hex").slice(0, 12);
}
