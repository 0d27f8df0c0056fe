import "reflect-metadata";
import { spawnSync } from "node:child_process";
import { KeyObject, type webcrypto, type X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { connect, createServer } from "node:tls";
import * as x509 from "@peculiar/x509";

/** For tests: certificates of another implementation (@peculiar/x509), and handshakes with them. */
export interface Made {
  readonly der: Buffer;
  readonly pem: string;
  readonly keyPem: string;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly subject: string;
  readonly algorithm: webcrypto.Algorithm;
}

export interface Wanted {
  readonly subject?: string;
  readonly issuer?: Made;
  /** "dns" or "ip" and the name. */
  readonly names?: readonly (readonly ["dns" | "ip", string])[];
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** Days from now. */
  readonly from?: number;
  readonly to?: number;
  readonly algorithm?: keyof typeof ALGORITHMS;
  readonly usages?: number;
  readonly purposes?: readonly string[];
  readonly extensions?: readonly x509.Extension[];
  /** The certificate's keys; if absent, new ones. */
  readonly keys?: webcrypto.CryptoKeyPair;
}

const RSA = { name: "RSASSA-PKCS1-v1_5", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 };
const ALGORITHMS = {
  "P-256": { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" },
  "P-384": { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" },
  rsa: { ...RSA, hash: "SHA-256" },
  "rsa-sha1": { ...RSA, hash: "SHA-1" },
  "rsa-1024": { ...RSA, modulusLength: 1024, hash: "SHA-256" },
  "rsa-pss": { ...RSA, name: "RSA-PSS", hash: "SHA-256" },
} as const;

const DAY = 24 * 3600 * 1000;

export async function make(wanted: Wanted = {}): Promise<Made> {
  const { subject = "CN=test", issuer, names = [], ca = false, from = -1, to = 30, algorithm = "P-256" } = wanted;
  const chosen = ALGORITHMS[algorithm];
  const keys = wanted.keys ?? (await crypto.subtle.generateKey(chosen, true, ["sign", "verify"]));
  const signer = issuer ?? { keys, subject, algorithm: chosen };
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: signer.subject,
    notBefore: new Date(Date.now() + from * DAY),
    notAfter: new Date(Date.now() + to * DAY),
    publicKey: keys.publicKey,
    signingKey: signer.keys.privateKey,
    signingAlgorithm: { ...signer.algorithm },
    extensions: [
      new x509.BasicConstraintsExtension(ca, wanted.pathLength, true),
      ...(names.length > 0
        ? [new x509.SubjectAlternativeNameExtension(names.map(([type, value]) => ({ type, value })))]
        : []),
      ...(wanted.usages === undefined ? [] : [new x509.KeyUsagesExtension(wanted.usages, true)]),
      ...(wanted.purposes ? [new x509.ExtendedKeyUsageExtension([...wanted.purposes])] : []),
      ...(wanted.extensions ?? []),
    ],
  });
  const keyPem = KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }).toString();
  const pem = `${certificate.toString("pem")}\n`;
  return { der: Buffer.from(certificate.rawData), pem, keyPem, keys, subject, algorithm: chosen };
}

/** Shakes hands: a server shows these certificates, and a client that trusts `roots` verifies them. */
export async function shake(
  shown: { readonly certificatePem: string; readonly keyPem: string },
  roots: readonly string[],
  options: { readonly ciphers?: string; readonly servername?: string } = {},
): Promise<{ leaf: X509Certificate; sent: X509Certificate[]; code: string | undefined }> {
  const { ciphers = "DEFAULT" } = options;
  const server = createServer({ cert: shown.certificatePem, key: shown.keyPem, ciphers });
  // The client may close the connection with a reset.
  server.on("tlsClientError", () => undefined).on("secureConnection", (socket) => socket.on("error", () => undefined));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const identity = options.servername === undefined ? { checkServerIdentity: () => undefined } : {};
  const client = connect({
    host: "127.0.0.1",
    port,
    ca: [...roots],
    rejectUnauthorized: false,
    ciphers,
    ...options,
    ...identity,
  });
  try {
    await once(client, "secureConnect");
    const leaf = client.getPeerX509Certificate();
    if (!leaf) throw new Error("The server showed no certificate");
    return { leaf, sent: sentWith(leaf), code: (client.authorizationError as unknown as string | null) ?? undefined };
  } finally {
    client.destroy();
    server.close();
    await once(server, "close");
  }
}

/** Node's issuerCertificate is the certificate that was sent next, even when that one is not the issuer. */
function sentWith(leaf: X509Certificate): X509Certificate[] {
  const sent = new Set<X509Certificate>();
  for (let next = leaf.issuerCertificate; next && !sent.has(next); next = next.issuerCertificate) sent.add(next);
  return [...sent];
}

/** An empty folder that is removed after the test. */
export function emptyFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "clearline-pki-"));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs openssl and answers its stdout and stderr together. Throws when it fails. */
export function openssl(folder: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("openssl", args, { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`openssl ${args.join(" ")} failed: ${stderr}${stdout}`);
  return stdout + stderr;
}
