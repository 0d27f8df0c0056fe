import { sign } from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import {
  encodeExtension,
  encodeName,
  issueCertificate,
  randomSerial,
  signatureOf,
} from "../x509/certificate-writing.ts";
import { encode, encodeInteger, encodeOid, TAG } from "../x509/der.ts";
import { OID } from "../x509/oid.ts";
import { toPem } from "../x509/pem.ts";
import { publicKeyOf } from "../x509/public-key.ts";
import { type HeldKeyType, makePrivateKey, privateKeyPem } from "./private-key.ts";

/** A new private key, not encrypted, and the PKCS#10 request for its certificate. */
export interface KeyRequest {
  readonly keyPem: string;
  readonly requestPem: string;
}

/** PKCS#9's extensionRequest: RFC 2985, section 5.4.2. */
const EXTENSION_REQUEST = "2a864886f70d01090e";
/** RFC 5280, appendix A.1: a common name has at most 64 characters. */
const LONGEST_NAME = 64;

/** Makes a key and a request for a certificate with these hosts: RFC 2986. */
export async function requestKey(hosts: readonly string[], keyType: HeldKeyType): Promise<KeyRequest> {
  const key = await makePrivateKey(keyType);
  const { algorithm, hash } = signatureOf(key);
  const extensions = encode(TAG.sequence, alternativeNames(hosts));
  const attribute = encode(TAG.sequence, encodeOid(EXTENSION_REQUEST), encode(TAG.set, extensions));
  const body = encode(
    TAG.sequence,
    encodeInteger(Buffer.from([0])),
    subjectOf(hosts),
    publicKeyOf(key),
    encode(0xa0, attribute),
  );
  const signature = encode(TAG.bitString, Buffer.from([0]), sign(hash, body, key));
  return {
    keyPem: privateKeyPem(key),
    requestPem: toPem(encode(TAG.sequence, body, algorithm, signature), "CERTIFICATE REQUEST"),
  };
}

/** Makes a key and a self-signed certificate. Times in ms since the epoch. */
export async function makeSelfSigned(
  hosts: readonly string[],
  keyType: HeldKeyType,
  notBefore: number,
  notAfter: number,
): Promise<{ readonly keyPem: string; readonly certificatePem: string }> {
  const key = await makePrivateKey(keyType);
  const name = subjectOf(hosts);
  const serverAuth = encode(TAG.sequence, encodeOid(OID.serverAuth));
  const der = await issueCertificate(
    {
      serial: randomSerial(),
      issuer: name,
      subject: name,
      notBefore,
      notAfter,
      publicKey: publicKeyOf(key),
      extensions: [
        encodeExtension(OID.basicConstraints, true, encode(TAG.sequence)),
        encodeExtension(OID.extendedKeyUsage, false, serverAuth),
        alternativeNames(hosts),
      ],
    },
    key,
  );
  return { keyPem: privateKeyPem(key), certificatePem: toPem(der) };
}

function subjectOf(hosts: readonly string[]): Buffer {
  const short = hosts.find((host) => host.length <= LONGEST_NAME);
  return encodeName(short === undefined ? [] : [[OID.commonName, short]]);
}

/** GeneralName's dNSName [2] and iPAddress [7]: RFC 5280, section 4.2.1.6. */
function alternativeNames(hosts: readonly string[]): Buffer {
  const names = hosts.map((host) =>
    isIP(host)
      ? encode(0x87, Buffer.from(ipaddr.parse(host).toByteArray()))
      : encode(0x82, Buffer.from(host.toLowerCase().replace(/\.$/, ""))),
  );
  return encodeExtension(OID.subjectAltName, false, encode(TAG.sequence, ...names));
}
