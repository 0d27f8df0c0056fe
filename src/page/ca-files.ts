/** The files with the primary CA's certificates, for clients. No private key comes near here. */

/** A CA's certificate, as clients get it. */
export interface OfferedCertificate {
  readonly keyType: "ecdsa" | "rsa";
  /** present: it signs; next: it will. */
  readonly stage: "present" | "next";
  readonly subject: string;
  /** Lower-case hex, of the DER. */
  readonly sha256: string;
  /** ms since the epoch. */
  readonly notAfter: number;
  /** It is signed by its own key. */
  readonly isRoot: boolean;
  readonly pem: string;
}

export interface OfferedFile {
  readonly name: string;
  readonly type: string;
  readonly body: string | Uint8Array;
}

/** What a certificate's files are called, without their ending. */
export function nameOf({ keyType, stage }: Pick<OfferedCertificate, "keyType" | "stage">): string {
  return `clearline-${stage === "next" ? "next-" : ""}ca-${keyType}`;
}

export const BUNDLE = "clearline-ca.pem";
export const PROFILE = "clearline.mobileconfig";

/** The file of this name; undefined: there is none. */
export function findFile(name: string, certificates: readonly OfferedCertificate[]): OfferedFile | undefined {
  if (name === BUNDLE) return { name, type: PEM_TYPE, body: certificates.map(({ pem }) => `${pem.trim()}\n`).join("") };
  if (name === PROFILE) return { name, type: "application/x-apple-aspen-config", body: writeProfile(certificates) };
  const [, base, ending] = /^([a-z-]+)\.(pem|crt|der)$/.exec(name) ?? [];
  const certificate = certificates.find((one) => nameOf(one) === base);
  if (!certificate) return undefined;
  if (ending === "pem") return { name, type: PEM_TYPE, body: `${certificate.pem.trim()}\n` };
  return { name, type: "application/x-x509-ca-cert", body: Buffer.from(base64Of(certificate), "base64") };
}

const PEM_TYPE = "application/x-pem-file";

/** The DER of a certificate, in base64 on one line. */
function base64Of({ pem }: OfferedCertificate): string {
  return /-----BEGIN CERTIFICATE-----([^-]+)-----END/.exec(pem)?.[1]?.replaceAll(/\s/g, "") ?? "";
}

/** A configuration profile for iOS, iPadOS and macOS, which holds all the certificates. */
function writeProfile(certificates: readonly OfferedCertificate[]): string {
  const payloads = certificates.map((one) =>
    dictionary({
      PayloadType: one.isRoot ? "com.apple.security.root" : "com.apple.security.pkcs1",
      PayloadVersion: 1,
      PayloadIdentifier: `internal.clearline.ca.${one.sha256}`,
      PayloadUUID: uuidOf(one.sha256),
      PayloadDisplayName: `Clearline CA, ${one.keyType.toUpperCase()}${one.stage === "next" ? ", next" : ""}`,
      PayloadCertificateFileName: `${nameOf(one)}.crt`,
      PayloadContent: { base64: base64Of(one) },
    }),
  );
  const all = certificates.map(({ sha256 }) => sha256);
  const profile = dictionary({
    PayloadType: "Configuration",
    PayloadVersion: 1,
    PayloadIdentifier: "internal.clearline.ca",
    PayloadUUID: uuidOf(
      all
        .map((sha256) => sha256.slice(-Math.floor(32 / all.length)))
        .join("")
        .padEnd(32, "0"),
    ),
    PayloadDisplayName: "Clearline CA",
    PayloadDescription: "Trusts the CA that signs for connections that Clearline inspects.",
    PayloadOrganization: "Clearline",
    PayloadContent: { array: payloads },
  });
  const doctype =
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">';
  return `<?xml version="1.0" encoding="UTF-8"?>\n${doctype}\n<plist version="1.0">\n${profile}\n</plist>\n`;
}

type Value = string | number | { readonly base64: string } | { readonly array: readonly string[] };

/** No value has a character that XML takes for its own. */
function dictionary(values: Readonly<Record<string, Value>>): string {
  const entries = Object.entries(values).map(([key, value]) => `<key>${key}</key>${element(value)}`);
  return `<dict>\n${entries.join("\n")}\n</dict>`;
}

function element(value: Value): string {
  if (typeof value === "number") return `<integer>${value}</integer>`;
  if (typeof value === "string") return `<string>${value}</string>`;
  return "base64" in value ? `<data>${value.base64}</data>` : `<array>\n${value.array.join("\n")}\n</array>`;
}

/** The same certificate has the same UUID: a profile that is installed again replaces the one before. */
function uuidOf(hex: string): string {
  const [, ...parts] = /^(.{8})(.{4})(.{4})(.{4})(.{12})/.exec(hex) ?? [];
  return parts.join("-").toUpperCase();
}
