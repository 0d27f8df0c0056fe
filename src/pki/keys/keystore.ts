import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { readCertificate } from "../x509/certificate.ts";
import { sha256 } from "../x509/fingerprint.ts";
import type { InboundKey } from "./inbound-key.ts";
import type { HeldKeyType } from "./private-key.ts";

export interface Keystore {
  /**
   * The keys for a server: those for exactly this host, else those for the longest matching wildcard, else those for the
   * address. Several when the user gave keys of several types. Empty when the node has no key for the server.
   */
  find(host: string | undefined, address: string): readonly InboundKey[];
  /**
   * Whether the certificate's key is one that the node holds for this server, even under another certificate (a renewed one, for
   * example) or for a wildcard that covers the host. A key for another server does not count: its owner is not this server.
   */
  holds(certificate: X509Certificate, host: string | undefined, address: string): boolean;
  readonly keys: readonly InboundKey[];
}

/** Of two keys of the same type for one host, the later in the list is used. */
export function createKeystore(keys: readonly InboundKey[]): Keystore {
  const byHost = new Map<string, Map<HeldKeyType, InboundKey>>();
  for (const key of keys) {
    for (const host of key.hosts.map(foldHost)) {
      const types = byHost.get(host) ?? new Map<HeldKeyType, InboundKey>();
      byHost.set(host, types.set(key.keyType, key));
    }
  }
  // Of all keys: a server may still have the one that another has replaced here.
  const publicKeys = new Map<string, Set<string>>();
  for (const { hosts, publicKeySha256 } of keys) {
    for (const host of hosts.map(foldHost)) {
      publicKeys.set(host, (publicKeys.get(host) ?? new Set()).add(publicKeySha256));
    }
  }
  const namesFor = (host: string | undefined) => (host === undefined ? [] : matchingNames(foldHost(host)));
  return {
    keys,
    holds(certificate, host, address) {
      const publicKey = sha256(readCertificate(certificate.raw).publicKey);
      return [...namesFor(host), foldHost(address)].some((name) => publicKeys.get(name)?.has(publicKey));
    },
    find(host, address) {
      if (byHost.size === 0) return [];
      const names = namesFor(host);
      const name = names.find((candidate) => byHost.has(candidate)) ?? foldHost(address);
      return [...(byHost.get(name)?.values() ?? [])];
    },
  };
}

/** The names that match a host, closest first: for "a.b.c" these are "a.b.c", "*.b.c" and "*.c". */
function matchingNames(host: string): string[] {
  if (isIP(host)) return [host];
  const labels = host.split(".");
  return [host, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`)];
}

/** One spelling for equal hosts: ignores case, a trailing dot, the forms of IPv6, and IPv4 mapped to IPv6. */
export function foldHost(host: string): string {
  return isIP(host) ? ipaddr.process(host).toString() : host.toLowerCase().replace(/\.$/, "");
}

/**
 * The configured keys, then those added at run time, oldest certificate first. Because later keys are used first, a
 * renewed certificate replaces the old one.
 */
export function byPrecedence(configured: readonly InboundKey[], added: readonly InboundKey[]): InboundKey[] {
  return [...configured, ...added.toSorted((a, b) => a.notBefore - b.notBefore || (a.id < b.id ? -1 : 1))];
}
