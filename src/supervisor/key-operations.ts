import { X509Certificate } from "node:crypto";
import type { GeneratedKey, KeyInfo, NewKey, NewKeyRequest } from "../control/api.ts";
import type { Operations } from "../control/operations.ts";
import { ConfigError } from "../errors.ts";
import { type InboundKey, stateOf } from "../pki/keys/inbound-key.ts";
import type { NewKeySource, WaitingKey } from "../pki/keys/key-folder.ts";
import { makeSelfSigned, requestKey } from "../pki/keys/key-request.ts";
import { readCertificate } from "../pki/x509/certificate.ts";
import { sha256 } from "../pki/x509/fingerprint.ts";
import { hasPrivateKey } from "../pki/x509/pem.ts";
import type { NodeState } from "./state.ts";

const DAY = 24 * 3600 * 1000;
/** A client whose clock is slow must not find a new certificate not yet valid. */
const CLOCK_SKEW = 3600 * 1000;

/** What the API asks about inbound keys. No answer holds a private key. `reloadKeys` makes new sessions use the changed folder. */
export function createKeyOperations(
  state: NodeState,
  reloadKeys: () => Promise<unknown>,
): Pick<Operations, "keys" | "addKey" | "generateKey" | "removeKey"> {
  return {
    keys: () => keyInfos(state),
    async addKey(key) {
      const entry = await state.keyFolder.add(sourceOf(state, key));
      await reloadKeys();
      return keyInfo(state, entry);
    },
    generateKey: (wanted) => generate(state, wanted, reloadKeys),
    async removeKey(id) {
      const written = state.active.keystore.keys.find((entry) => entry.id === id && isConfigured(entry));
      if (written)
        throw new ConfigError(
          "id",
          `Cannot remove key ${id}: it is in the configuration file. Remove it there and reload`,
        );
      const removed = await state.keyFolder.remove(id);
      if (removed) await reloadKeys();
      return removed;
    },
  };
}

export function keyInfos(state: NodeState): KeyInfo[] {
  const { keystore, waiting } = state.active;
  return [...keystore.keys.map((entry) => keyInfo(state, entry)), ...waiting.map(waitingInfo)];
}

/** A certificate may come without its key if the node already holds the key: it made it, or an older certificate has the same. */
function sourceOf({ active }: NodeState, { hosts = [], certificate, key, pkcs12, passphrase }: NewKey): NewKeySource {
  const common = { ...(passphrase !== undefined && { passphrase }) };
  if (pkcs12 !== undefined && certificate === undefined && key === undefined) return { ...common, hosts, pkcs12 };
  if (certificate === undefined || pkcs12 !== undefined) {
    throw new ConfigError(
      "certificate",
      "Cannot add a key: give either a certificate or pkcs12, which holds both certificate and key",
    );
  }
  const keyPem = key ?? (hasPrivateKey(certificate) ? certificate : undefined);
  if (keyPem !== undefined) return { ...common, hosts, certificatePem: certificate, keyPem };
  const publicKeySha256 = publicKeyOf(certificate);
  const isIts = (one: { readonly publicKeySha256: string }) => one.publicKeySha256 === publicKeySha256;
  const held = active.waiting.find(isIts) ?? active.keystore.keys.find(isIts);
  if (!held) {
    throw new ConfigError(
      "key",
      "Cannot add the certificate: the node does not hold its private key. Give the key too",
    );
  }
  return { hosts: hosts.length > 0 ? hosts : held.hosts, certificatePem: certificate, keyPem: held.keyPem };
}

function publicKeyOf(pem: string): string {
  try {
    return sha256(readCertificate(new X509Certificate(pem).raw).publicKey);
  } catch (error) {
    throw new ConfigError("certificate", "Cannot add a key: its certificate cannot be read", { cause: error });
  }
}

async function generate(
  state: NodeState,
  { hosts, keyType, selfSignedDays }: NewKeyRequest,
  reloadKeys: () => Promise<unknown>,
): Promise<GeneratedKey> {
  if (selfSignedDays === undefined) {
    const waiting = await state.keyFolder.addRequest(hosts, () => requestKey(hosts, keyType));
    await reloadKeys();
    return { key: waitingInfo(waiting), request: waiting.requestPem };
  }
  const now = Date.now();
  const made = await makeSelfSigned(hosts, keyType, now - CLOCK_SKEW, now + selfSignedDays * DAY);
  const entry = await state.keyFolder.add({ hosts, ...made });
  await reloadKeys();
  return { key: keyInfo(state, entry), request: null };
}

function keyInfo({ active }: NodeState, entry: InboundKey): KeyInfo {
  const { id, hosts, keyType, sha256, notAfter } = entry;
  return {
    id,
    hosts,
    keyType,
    sha256,
    notAfter,
    origin: isConfigured(entry) ? "configuration" : "added",
    state: stateOf(entry, Date.now(), active.loaded.config.keyStore.warnBefore),
  };
}

function waitingInfo({ id, hosts, keyType }: WaitingKey): KeyInfo {
  return { id, hosts, keyType, sha256: null, notAfter: null, origin: "added", state: "waiting" };
}

/** The path of a configured key is a place in the configuration, that of an added key is a file. */
function isConfigured({ path }: InboundKey): boolean {
  return path.startsWith("keys[");
}
