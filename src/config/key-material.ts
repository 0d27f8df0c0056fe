import { FAULTS, type Fault } from "../vocabulary.ts";
import { pathOf, valueAt } from "./problem.ts";
import type { ReferencedFiles } from "./referenced-files.ts";

/** The certificates, keys and secrets that a configuration names, as texts. */
export interface KeyMaterial {
  readonly keys: readonly InboundKey[];
  readonly trustFiles: readonly { readonly path: string; readonly pem: string }[];
  readonly signing: { readonly primary?: KeyPair; readonly secondary?: KeyPair };
  /** The roots of console.oidc's provider. Absent: those of `trust`. */
  readonly providerTrust?: { readonly path: string; readonly pem: string };
  /** The API's own certificate. Absent: it has none, or the primary CA signs it. */
  readonly consoleTls?: KeyPair;
  readonly keyStore: { readonly current?: StoreSecret; readonly former?: StoreSecret };
}

/** A certificate with its key, as texts. `path` is the entry that names them: "keys[0]". */
interface KeyPair {
  readonly path: string;
  readonly certificatePem: string;
  readonly keyPem: string;
  /** The passphrase of the encrypted key. */
  readonly passphrase?: string;
}

/** `hosts` empty: those in the certificate. `pkcs12`: base64. */
type InboundKey = { readonly hosts: readonly string[]; readonly acceptFaults?: readonly Fault[] } & (
  | KeyPair
  | (Pick<KeyPair, "path" | "passphrase"> & { readonly pkcs12: string })
);

/** The secret that encrypts the private keys in the data folder. The text of a key file is base64. `path`: "keyStore.keyFile". */
interface StoreSecret {
  readonly kind: "passphrase" | "keyFile";
  readonly text: string;
  readonly path: string;
}

/** Takes the files that could be read, whatever mistakes there are elsewhere in the configuration. */
export function keyMaterial(root: unknown, files: ReferencedFiles): KeyMaterial {
  const consoleTls = keyPair(["console", "tls"], files);
  const provider = { path: "console.oidc.trust", pem: files.texts.get("console.oidc.trust") };
  return {
    ...(provider.pem !== undefined && { providerTrust: { ...provider, pem: provider.pem } }),
    ...(consoleTls && { consoleTls }),
    keys: inboundKeys(root, files),
    trustFiles: trustFilesOf(root, files),
    signing: signingOf(files),
    keyStore: keyStoreOf(files),
  };
}

function inboundKeys(root: unknown, files: ReferencedFiles): InboundKey[] {
  const entries = valueAt(root, ["keys"]);
  if (!Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index): InboundKey[] => {
    const keys = ["keys", index];
    const pair = keyPair(keys, files);
    const pkcs12 = files.texts.get(pathOf([...keys, "pkcs12"]));
    const written = valueAt(entry, ["hosts"]);
    const hosts = Array.isArray(written) ? written.map(String) : [];
    const common = { hosts, ...acceptedFaults(entry) };
    if (pkcs12 !== undefined) return [{ path: pathOf(keys), ...passphraseOf(keys, files), pkcs12, ...common }];
    return pair ? [{ ...pair, ...common }] : [];
  });
}

function acceptedFaults(entry: unknown): { readonly acceptFaults?: readonly Fault[] } {
  const written = valueAt(entry, ["acceptFaults"]);
  return Array.isArray(written) ? { acceptFaults: FAULTS.filter((fault) => written.includes(fault)) } : {};
}

function keyPair(keys: readonly PropertyKey[], files: ReferencedFiles): KeyPair | undefined {
  const certificatePem = files.texts.get(pathOf([...keys, "certificate"]));
  const keyPem = files.texts.get(pathOf([...keys, "key"]));
  return certificatePem === undefined || keyPem === undefined
    ? undefined
    : { path: pathOf(keys), certificatePem, keyPem, ...passphraseOf(keys, files) };
}

function passphraseOf(keys: readonly PropertyKey[], { texts }: ReferencedFiles): { readonly passphrase?: string } {
  const passphrase = texts.get(pathOf([...keys, "passphraseFile"]));
  return passphrase === undefined ? {} : { passphrase };
}

function keyStoreOf({ texts }: ReferencedFiles): KeyMaterial["keyStore"] {
  const secretAt = (keys: readonly string[]): StoreSecret | undefined => {
    const [passphraseFile, keyFile] = ["passphraseFile", "keyFile"].map((name) => pathOf([...keys, name]));
    const [passphrase, bytes] = [texts.get(passphraseFile!), texts.get(keyFile!)];
    if (passphrase !== undefined) return { kind: "passphrase", text: passphrase, path: passphraseFile! };
    return bytes === undefined ? undefined : { kind: "keyFile", text: bytes, path: keyFile! };
  };
  const [current, former] = [secretAt(["keyStore"]), secretAt(["keyStore", "former"])];
  return { ...(current && { current }), ...(former && { former }) };
}

function signingOf(files: ReferencedFiles): KeyMaterial["signing"] {
  const primary = keyPair(["signing", "primary"], files);
  const secondary = keyPair(["signing", "secondary"], files);
  return { ...(primary && { primary }), ...(secondary && { secondary }) };
}

function trustFilesOf(root: unknown, { texts }: ReferencedFiles): KeyMaterial["trustFiles"] {
  const names = valueAt(root, ["trust", "files"]);
  if (!Array.isArray(names)) return [];
  return names.flatMap((_, index) => {
    const path = pathOf(["trust", "files", index]);
    const pem = texts.get(path);
    return pem === undefined ? [] : [{ path, pem }];
  });
}
