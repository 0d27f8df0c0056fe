import type { Extensions } from "./certificate.ts";
import { type Element, readInside, TAG } from "./der.ts";
import { OID } from "./oid.ts";

/** Tags of GeneralName: RFC 5280, section 4.2.1.6. */
export const GENERAL_NAME = { dns: 0x82, uri: 0x86, ip: 0x87 } as const;

/** The names in subjectAltName; none without the extension. Throws PeerError. */
export function readAlternatives(extensions: Extensions): readonly Element[] {
  const value = extensions.get(OID.subjectAltName)?.value;
  return value ? readInside(value, TAG.sequence, "subjectAltName") : [];
}
