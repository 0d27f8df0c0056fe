import { hash } from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import type { Extensions } from "./certificate.ts";
import { type Element, encode, readInside, TAG } from "./der.ts";
import { OID } from "./oid.ts";

/** Tags of GeneralName: RFC 5280, section 4.2.1.6. */
export const GENERAL_NAME = { dns: 0x82, uri: 0x86, ip: 0x87 } as const;

/** The value of subjectAltName for these DNS names and addresses. */
export function encodeAlternatives(names: readonly string[]): Buffer {
  const encoded = names.map((name) =>
    isIP(name)
      ? encode(GENERAL_NAME.ip, Buffer.from(ipaddr.parse(name).toByteArray()))
      : encode(GENERAL_NAME.dns, Buffer.from(name, "latin1")),
  );
  return encode(TAG.sequence, ...encoded);
}

/** Tells apart the certificates that are issued for one original; "": for all of its names. */
export function namesKey(names: readonly string[] | undefined): string {
  return names ? hash("sha256", names.join("\n")) : "";
}

/** The names in subjectAltName; none without the extension. Throws PeerError. */
export function readAlternatives(extensions: Extensions): readonly Element[] {
  const value = extensions.get(OID.subjectAltName)?.value;
  return value ? readInside(value, TAG.sequence, "subjectAltName") : [];
}
