import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import ipaddr from "ipaddr.js";
import { KEY_USAGE } from "../../x509/certificate.ts";
import {
  encodeExtension,
  encodeKeyUsage,
  encodeName,
  randomSerial,
  signatureOf,
} from "../../x509/certificate-writing.ts";
import { encode, encodeInteger, encodeOid, encodeTime, TAG } from "../../x509/der.ts";
import { OID } from "../../x509/oid.ts";

/** For tests: writes certificates of any form, right or wrong. */

export interface Written {
  readonly der: Buffer;
  readonly name: Buffer;
  readonly key: KeyObject;
  readonly publicKey: KeyObject;
}

export interface Wanted {
  /** Absent: the certificate signs itself. */
  readonly issuer?: Written;
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** The common name; "": an empty subject. */
  readonly subject?: string;
  readonly names?: readonly Buffer[];
  readonly purposes?: readonly string[];
  readonly usage?: number;
  readonly keys?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  /** Days from now. */
  readonly from?: number;
  readonly to?: number;
  /** More extensions, whole elements. */
  readonly extensions?: readonly Buffer[];
  /** Extensions of the usual certificate that this one has not. */
  readonly without?: readonly (keyof typeof OID)[];
  readonly sanCritical?: boolean;
  readonly version?: number;
  /** The contents of an INTEGER. */
  readonly serial?: Buffer;
  /** An AlgorithmIdentifier outside of the signed part, when it is to be another one. */
  readonly outerAlgorithm?: Buffer;
  readonly hash?: { readonly name: string | null; readonly algorithm: Buffer };
}

export const DAY = 86_400_000;

export const newKeys = () => generateKeyPairSync("ec", { namedCurve: "P-256" });

export function write(wanted: Wanted): Written {
  const { issuer, ca = false, from = -1, to = 30, version = 3, outerAlgorithm } = wanted;
  const { privateKey, publicKey } = wanted.keys ?? newKeys();
  const common = wanted.subject ?? (ca ? "CA" : "www.example.com");
  const name = encodeName(common === "" ? [] : [[OID.commonName, common]]);
  const signer = issuer ?? { name, key: privateKey, publicKey };
  const { algorithm, hash } = wanted.hash ? { ...wanted.hash, hash: wanted.hash.name } : signatureOf(signer.key);
  const usual = ca ? caExtensions(wanted, publicKey) : leafExtensions(wanted);
  const without = new Set<string>(wanted.without?.map((key) => OID[key]));
  const own = [...usual, [OID.authorityKeyIdentifier, keyIdentifierOf(signer.publicKey)] as const];
  const extensions = [
    ...own.filter(([oid]) => !without.has(oid)).map(([, extension]) => extension),
    ...(wanted.extensions ?? []),
  ];
  const body = encode(
    TAG.sequence,
    ...(version === 1 ? [] : [encode(0xa0, encodeInteger(Buffer.from([version - 1])))]),
    encode(TAG.integer, wanted.serial ?? randomSerial()),
    algorithm,
    signer.name,
    encode(TAG.sequence, encodeTime(Date.now() + from * DAY), encodeTime(Date.now() + to * DAY)),
    name,
    publicKey.export({ type: "spki", format: "der" }),
    ...(extensions.length > 0 ? [encode(0xa3, encode(TAG.sequence, ...extensions))] : []),
  );
  const signature = encode(TAG.bitString, Buffer.from([0]), sign(hash, body, signer.key));
  return { der: encode(TAG.sequence, body, outerAlgorithm ?? algorithm, signature), name, key: privateKey, publicKey };
}

type Named = readonly [oid: string, extension: Buffer];

function caExtensions({ pathLength, usage, purposes, names }: Wanted, publicKey: KeyObject): Named[] {
  const length = pathLength === undefined ? [] : [encodeInteger(Buffer.from([pathLength]))];
  const constraints = encode(TAG.sequence, encode(TAG.boolean, Buffer.from([0xff])), ...length);
  const identifier = encode(TAG.octetString, hashOf(publicKey));
  const bits = usage ?? KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign;
  return [
    [OID.basicConstraints, encodeExtension(OID.basicConstraints, true, constraints)],
    [OID.keyUsage, encodeExtension(OID.keyUsage, true, encodeKeyUsage(bits))],
    [OID.subjectKeyIdentifier, encodeExtension(OID.subjectKeyIdentifier, false, identifier)],
    ...(purposes ? [purposesOf(purposes)] : []),
    ...(names ? [namesOf(names, false)] : []),
  ];
}

function leafExtensions({ usage, purposes, names = [dns("www.example.com")], sanCritical = false }: Wanted): Named[] {
  const bits = usage ?? KEY_USAGE.digitalSignature;
  return [
    namesOf(names, sanCritical),
    [OID.keyUsage, encodeExtension(OID.keyUsage, true, encodeKeyUsage(bits))],
    purposesOf(purposes ?? [OID.serverAuth]),
  ];
}

function namesOf(names: readonly Buffer[], critical: boolean): Named {
  return [OID.subjectAltName, encodeExtension(OID.subjectAltName, critical, encode(TAG.sequence, ...names))];
}

function purposesOf(purposes: readonly string[]): Named {
  const value = encode(TAG.sequence, ...purposes.map(encodeOid));
  return [OID.extendedKeyUsage, encodeExtension(OID.extendedKeyUsage, false, value)];
}

function keyIdentifierOf(publicKey: KeyObject): Buffer {
  const value = encode(TAG.sequence, encode(0x80, hashOf(publicKey)));
  return encodeExtension(OID.authorityKeyIdentifier, false, value);
}

function hashOf(publicKey: KeyObject): Buffer {
  return createHash("sha1")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest();
}

/** GeneralName: RFC 5280, section 4.2.1.6. */
export const dns = (name: string): Buffer => encode(0x82, Buffer.from(name));
export const email = (name: string): Buffer => encode(0x81, Buffer.from(name));
export const uri = (name: string): Buffer => encode(0x86, Buffer.from(name));
export const ip = (address: string): Buffer => encode(0x87, Buffer.from(ipaddr.parse(address).toByteArray()));
export const directory = (common: string): Buffer => encode(0xa4, encodeName([[OID.commonName, common]]));
/** msUPN, as certificates of Active Directory have it. */
export const upn = (name: string): Buffer =>
  encode(0xa0, encodeOid("2b060104018237140203"), encode(0xa0, encode(TAG.utf8String, Buffer.from(name))));
/** A subtree of addresses: "192.0.2.0", "255.255.255.0". */
export const subnet = (address: string, mask: string): Buffer =>
  encode(0x87, ...[address, mask].map((one) => Buffer.from(ipaddr.parse(one).toByteArray())));

export function nameConstraints(
  { permitted, excluded }: { readonly permitted?: readonly Buffer[]; readonly excluded?: readonly Buffer[] },
  critical = true,
): Buffer {
  const subtrees = (tag: number, names: readonly Buffer[] | undefined) =>
    names ? [encode(tag, ...names.map((name) => encode(TAG.sequence, name)))] : [];
  const value = encode(TAG.sequence, ...subtrees(0xa0, permitted), ...subtrees(0xa1, excluded));
  return encodeExtension(OID.nameConstraints, critical, value);
}
