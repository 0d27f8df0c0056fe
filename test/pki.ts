import { createHash, X509Certificate } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Written } from "../src/pki/verify/test-cases/writing.ts";
import type { KeyType } from "../src/vocabulary.ts";
import { must, scratch } from "./processes.ts";

/** The files of a certificate and its key. */
export interface Identity {
  readonly certificate: string;
  readonly key: string;
}

/** The PKI of the tests: a root that the node trusts, and servers' certificates, valid and faulty. */
export interface Pki {
  readonly folder: string;
  readonly root: Identity;
  readonly server: Readonly<Record<KeyType, Identity>>;
  readonly client: Identity;
  /** A certificate with each of the faults; all ECDSA. */
  readonly faulty: Readonly<
    Record<"expired" | "notYetValid" | "selfSigned" | "unknownIssuer" | "hostMismatch", Identity>
  >;
}

const CACHE = join(import.meta.dirname, "../node_modules/.cache");

/** All servers' certificates have these names, so that each test can use its own host name. */
export const DOMAIN = "clearline.test";
const NAMES = `DNS:*.${DOMAIN},DNS:*.in.${DOMAIN},DNS:${DOMAIN},DNS:localhost,IP:127.0.0.1,IP:::1`;

/** The PKI in a folder of this process, which removes it. It is made with openssl once, and is copied from then on. */
export async function makePki(): Promise<Pki> {
  const made = join(
    CACHE,
    `pki-${createHash("sha256")
      .update(readFileSync(import.meta.filename))
      .digest("hex")
      .slice(0, 16)}`,
  );
  if (!existsSync(made)) await keepPki(made);
  const folder = scratch();
  cpSync(made, folder, { recursive: true });
  const at = (name: string) => place(folder, name);
  return {
    folder,
    root: at("root"),
    server: { rsa: at("rsa"), ecdsa: at("ecdsa") },
    client: at("client"),
    faulty: {
      expired: at("expired"),
      notYetValid: at("not-yet-valid"),
      selfSigned: at("self-signed"),
      unknownIssuer: at("unknown-issuer"),
      hostMismatch: at("host-mismatch"),
    },
  };
}

/** Two processes may do this at once: the first one's folder stays. */
async function keepPki(made: string): Promise<void> {
  const folder = scratch();
  await writePki(folder);
  mkdirSync(CACHE, { recursive: true });
  const copy = mkdtempSync(join(CACHE, "pki-"));
  cpSync(folder, copy, { recursive: true });
  try {
    renameSync(copy, made);
  } catch (error) {
    rmSync(copy, { recursive: true });
    if (!existsSync(made)) throw error;
  }
}

async function writePki(folder: string): Promise<void> {
  const authority = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
  const root = await selfSigned(folder, "root", "ecdsa", "/O=Test Internet/CN=Test Root", authority);
  const stranger = await selfSigned(folder, "stranger", "ecdsa", "/CN=Nobody Knows This Root", authority);
  const leaf = (name: string, keyType: KeyType, more: Partial<LeafOptions> = {}) =>
    signed(folder, name, keyType, {
      issuer: root,
      names: NAMES,
      days: ["20250101000000Z", "20450101000000Z"],
      ...more,
    });
  await Promise.all([
    leaf("rsa", "rsa"),
    leaf("ecdsa", "ecdsa"),
    leaf("client", "ecdsa", { usage: "clientAuth", names: "email:client@clearline.test" }),
    leaf("expired", "ecdsa", { days: ["20200101000000Z", "20210101000000Z"] }),
    leaf("not-yet-valid", "ecdsa", { days: ["20440101000000Z", "20450101000000Z"] }),
    selfSigned(folder, "self-signed", "ecdsa", "/CN=Alone", [
      `subjectAltName=${NAMES}`,
      "basicConstraints=critical,CA:FALSE",
      "extendedKeyUsage=serverAuth",
    ]),
    leaf("unknown-issuer", "ecdsa", { issuer: stranger }),
    leaf("host-mismatch", "ecdsa", { names: "DNS:somewhere.else.example" }),
  ]);
}

interface LeafOptions {
  readonly issuer: Identity;
  readonly names: string;
  /** notBefore and notAfter, as "20250101000000Z". */
  readonly days: readonly [string, string];
  readonly usage: "serverAuth" | "clientAuth";
}

/** Makes another server certificate of the root. */
export function makeLeaf(pki: Pki, name: string, names: string): Promise<Identity> {
  return signed(pki.folder, name, "ecdsa", { issuer: pki.root, names, days: ["20250101000000Z", "20450101000000Z"] });
}

/** Saves certificates that a test has written: the server's own with its key and its chain. */
export function saveIdentity(
  { folder }: Pick<Pki, "folder">,
  name: string,
  chain: readonly [Written, ...Written[]],
): Identity {
  const identity = place(folder, name);
  const pems = chain.map(({ der }) => new X509Certificate(der).toString());
  writeFileSync(identity.certificate, pems.join(""));
  writeFileSync(identity.key, chain[0].key.export({ type: "pkcs8", format: "pem" }));
  return identity;
}

/** Makes a CA that the node does not trust: for signing, for example. */
export function makeAuthority({ folder }: Pki, name: string): Promise<Identity> {
  return selfSigned(folder, name, "ecdsa", `/CN=${name}`, [
    "basicConstraints=critical,CA:TRUE",
    "keyUsage=critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier=hash",
  ]);
}

async function selfSigned(
  folder: string,
  name: string,
  keyType: KeyType,
  subject: string,
  extensions: readonly string[],
): Promise<Identity> {
  const identity = place(folder, name);
  const config = join(folder, `${name}.cnf`);
  writeFileSync(config, `[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n${extensions.join("\n")}\n`);
  await makeKey(identity.key, keyType);
  const args = ["-config", config, "-key", identity.key, "-subj", subject, "-days", "3650"];
  await must("openssl", ["req", "-x509", ...args, "-out", identity.certificate]);
  return identity;
}

/** Uses "openssl ca", because no other command of OpenSSL 3.0 sets dates in the past. */
async function signed(
  folder: string,
  name: string,
  keyType: KeyType,
  { issuer, names, days, usage = "serverAuth" }: Omit<LeafOptions, "usage"> & { usage?: LeafOptions["usage"] },
): Promise<Identity> {
  const identity = place(folder, name);
  const file = (kind: string) => join(folder, `${name}.${kind}`);
  writeFileSync(file("db"), "");
  writeFileSync(file("cnf"), configuration(folder, file("db"), names, usage));
  await makeKey(identity.key, keyType);
  const config = ["-config", file("cnf")];
  const subject = ["-subj", `/O=Test Internet/CN=${name}.${DOMAIN}`];
  await must("openssl", ["req", "-new", ...config, "-key", identity.key, ...subject, "-out", file("csr")]);
  const signing = ["-cert", issuer.certificate, "-keyfile", issuer.key, "-startdate", days[0], "-enddate", days[1]];
  const request = ["-in", file("csr"), "-out", identity.certificate, "-extensions", "leaf", "-notext", "-batch"];
  await must("openssl", ["ca", ...config, ...signing, ...request]);
  return identity;
}

function configuration(folder: string, database: string, names: string, usage: string): string {
  return `[req]
distinguished_name=dn
[dn]
[ca]
default_ca=this
[this]
database=${database}
new_certs_dir=${folder}
rand_serial=yes
default_md=sha256
policy=any
unique_subject=no
email_in_dn=no
[any]
commonName=supplied
organizationName=optional
[leaf]
subjectAltName=${names}
basicConstraints=critical,CA:FALSE
extendedKeyUsage=${usage}
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
`;
}

function place(folder: string, name: string): Identity {
  return { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) };
}

function makeKey(path: string, keyType: KeyType): Promise<string> {
  const kind =
    keyType === "rsa" ? ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"] : ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
  return must("openssl", ["genpkey", "-algorithm", ...kind, "-out", path]);
}
