import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { readCertificate } from "./certificate.ts";
import { type Element, oidOf, readElements, readInside, TAG } from "./der.ts";
import { fingerprintOf, serialNumberOf } from "./fingerprint.ts";
import { GENERAL_NAME } from "./general-name.ts";
import { OID } from "./oid.ts";
import { readValidity } from "./validity.ts";

/** A certificate as the session record and the policy have it. */
export interface RecordedCertificate {
  /** One line, most specific attribute first: "CN=www.example.com, O=Example". "" when empty. */
  readonly subject: string;
  readonly issuer: string;
  /** DNS names in lower case and addresses of subjectAltName; without that extension, the subject's common name. */
  readonly names: readonly string[];
  readonly sha256: string;
  /** For programs that know certificates by these. */
  readonly sha1: string;
  readonly serial: string;
  /** ms since the epoch; null when it cannot be parsed. */
  readonly notBefore: number | null;
  readonly notAfter: number | null;
}

/**
 * Reads the fields of the record. Names come from the DER, because a name can forge Node's printed list from within
 * (CVE-2021-44532). Lines contain no control characters, which could move a terminal's cursor.
 * Throws PeerError when the certificate is not X.509 in DER.
 */
export function recordCertificate(certificate: X509Certificate): RecordedCertificate {
  const known = recorded.get(certificate) ?? readRecord(certificate);
  recorded.set(certificate, known);
  return known;
}

/** Sessions with the same server share its certificate, and so what is recorded of it. */
const recorded = new WeakMap<X509Certificate, RecordedCertificate>();

function readRecord(certificate: X509Certificate): RecordedCertificate {
  const { notBefore, notAfter } = readValidity(certificate);
  return {
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
    names: namesOf(certificate.raw),
    sha256: fingerprintOf(certificate),
    sha1: certificate.fingerprint.replaceAll(":", "").toLowerCase(),
    serial: serialNumberOf(certificate),
    notBefore: Number.isNaN(notBefore) ? null : notBefore,
    notAfter: Number.isNaN(notAfter) ? null : notAfter,
  };
}

const MAX_LINE = 1024;

/**
 * Node prints each attribute on a line, most general first. It escapes special characters as in RFC 4514, so a line
 * break inside a value does not split it. An empty name is undefined.
 */
function oneLine(name: string | undefined): string {
  const line = (name ?? "").split("\n").reverse().join(", ");
  const visible = line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (hidden) => {
    return `\\u{${hidden.codePointAt(0)!.toString(16)}}`;
  });
  return visible.length > MAX_LINE ? `${visible.slice(0, MAX_LINE)}…` : visible;
}

function namesOf(der: Buffer): string[] {
  const { subject, extensions } = readCertificate(der);
  const alternatives = extensions.get(OID.subjectAltName)?.value;
  const names = alternatives
    ? readInside(alternatives, TAG.sequence, "subjectAltName").map(readName)
    : [readCommonName(subject)];
  return [...new Set(names.filter((name) => name !== undefined))];
}

/** Undefined for a name that no browser could request, such as "good.example\0.evil.example". */
export function readName({ tag, content }: Element): string | undefined {
  if (tag === GENERAL_NAME.dns) return readHost(content.toString("latin1"));
  if (tag === GENERAL_NAME.ip && (content.length === 4 || content.length === 16)) {
    return ipaddr.fromByteArray([...content]).toString();
  }
  return undefined;
}

function readHost(text: string): string | undefined {
  const host = text.toLowerCase().replace(/\.$/, "");
  return /^(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/.test(host) && host.length <= 253 ? host : undefined;
}

/** The last common name, the most specific one, if it can be a host or an address. */
function readCommonName(subject: Buffer): string | undefined {
  const attributes = readInside(subject, TAG.sequence, "subject").flatMap((set) => readElements(set.content));
  const values = attributes.map((attribute) => readElements(attribute.content));
  const value = values.findLast(([type]) => oidOf(type) === OID.commonName)?.[1];
  const text = value?.content.toString("latin1") ?? "";
  return isIP(text) ? ipaddr.parse(text).toString() : readHost(text);
}
