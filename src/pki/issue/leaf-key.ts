import { generateKeyPair } from "node:crypto";
import { promisify } from "node:util";
import type { RareKeyType } from "./leaf-kind.ts";
import type { IssuedKey } from "./rsa-pool.ts";

/** Makes the keys of `leaf-kind.ts`, a fresh one for each certificate. */
export async function makeRareKey(keyType: RareKeyType): Promise<IssuedKey> {
  const { publicKey, privateKey } = await MAKERS[keyType]();
  return { publicKey, keyPem: privateKey };
}

const generate = promisify(generateKeyPair);
const ENCODED = {
  publicKeyEncoding: { type: "spki", format: "der" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
} as const;

interface Encoded {
  readonly publicKey: Buffer;
  readonly privateKey: string;
}

const ec = (namedCurve: string) => (): Promise<Encoded> => generate("ec", { namedCurve, ...ENCODED });
const pss = (hash: string) => (): Promise<Encoded> => {
  const rsa = { modulusLength: 2048, publicExponent: 65537 };
  return generate("rsa-pss", { ...rsa, hashAlgorithm: hash, mgf1HashAlgorithm: hash, ...ENCODED });
};

const MAKERS: Readonly<Record<RareKeyType, () => Promise<Encoded>>> = {
  "ecdsa-p384": ec("P-384"),
  "ecdsa-p521": ec("P-521"),
  "ecdsa-brainpool256": ec("brainpoolP256r1"),
  "ecdsa-brainpool384": ec("brainpoolP384r1"),
  "ecdsa-brainpool512": ec("brainpoolP512r1"),
  ed25519: () => generate("ed25519", ENCODED),
  ed448: () => generate("ed448", ENCODED),
  "rsa-pss-sha256": pss("sha256"),
  "rsa-pss-sha384": pss("sha384"),
  "rsa-pss-sha512": pss("sha512"),
  "ml-dsa-44": () => generate("ml-dsa-44", ENCODED),
  "ml-dsa-65": () => generate("ml-dsa-65", ENCODED),
  "ml-dsa-87": () => generate("ml-dsa-87", ENCODED),
};
