import type { CertificateRecord, Session } from "./record.ts";

/**
 * The size of a session's record. Peers choose much of what is in it, and the node keeps it in memory, passes it between its processes
 * and writes it to the history, 100,000 times by default.
 */

/** The names of a server's certificate that are recorded. */
export const MOST_NAMES = 64;
/** The entries of any other list. */
const MOST_ENTRIES = 64;
/** Bytes of one text, as JSON. */
const LONGEST_TEXT = 1_024;
const CUT = "…";

/** The same fields without what is too much: long texts are cut, and long lists. */
export function bounded<Fields extends Partial<Session>>(fields: Fields): Fields {
  const { certificate } = fields;
  const few = certificate ? firstNames(certificate) : certificate;
  return boundFields(few === certificate ? fields : { ...fields, certificate: few });
}

/** The first names of a certificate, and how many it has. */
function firstNames(certificate: CertificateRecord): CertificateRecord {
  const { names } = certificate;
  if (names.length <= MOST_NAMES) return certificate;
  const nameCount = Math.max(names.length, certificate.nameCount ?? 0);
  return { ...certificate, names: names.slice(0, MOST_NAMES), nameCount };
}

function boundFields<Fields extends object>(fields: Fields): Fields {
  let changed: Fields | undefined;
  for (const key in fields) {
    const value = fields[key];
    const kept = bound(value);
    if (kept !== value) changed = { ...(changed ?? fields), [key]: kept };
  }
  return changed ?? fields;
}

/** The value itself, if it is small enough. */
function bound(value: unknown): unknown {
  if (typeof value === "string") return cut(value);
  if (typeof value !== "object" || value === null) return value;
  if (!Array.isArray(value)) return boundFields(value);
  if (value.length > MOST_ENTRIES) return value.slice(0, MOST_ENTRIES).map(bound);
  return value.every((entry) => bound(entry) === entry) ? value : value.map(bound);
}

function cut(text: string): string {
  // JSON writes a character as six bytes at most.
  if (text.length * 6 <= LONGEST_TEXT || bytesOf(text) <= LONGEST_TEXT) return text;
  let length = 0;
  let bytes = bytesOf(CUT);
  for (const character of text) {
    bytes += bytesOf(character);
    if (bytes > LONGEST_TEXT) break;
    length += character.length;
  }
  return `${text.slice(0, length)}${CUT}`;
}

function bytesOf(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}
