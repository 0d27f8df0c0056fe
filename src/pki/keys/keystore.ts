import type { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { ConfigError } from "../../errors.ts";
import { readCertificate } from "../x509/certificate.ts";
import { digest, type InboundKey, type KeySource, readKey } from "./key-source.ts";
import type { HeldKeyType } from "./private-key.ts";

export interface Keystore {
  /**
   * The keys for a server: those for exactly this host, else of the longest wildcard, else of the address. There are
   * several when the user gave a host keys of several types. Empty: the server is not one of ours.
   */
  find(host: string | undefined, address: string): readonly InboundKey[];
  /** Whether the certificate's key is one of ours, be the certificate itself another: a renewed one, say. */
  holds(certificate: X509Certificate): boolean;
  readonly keys: readonly InboundKey[];
}

/** Makes the look-up of inbound keys. Of two keys of one type for one host, the later in the list wins. */
export function createKeystore(keys: readonly InboundKey[]): Keystore {
  const byHost = new Map<string, Map<HeldKeyType, InboundKey>>();
  for (const entry of keys) {
    for (const host of entry.hosts.map(foldHost)) {
      const types = byHost.get(host) ?? new Map<HeldKeyType, InboundKey>();
      byHost.set(host, types.set(entry.keyType, entry));
    }
  }
  const held = new Set(keys.map(({ publicKeySha256 }) => publicKeySha256));
  return {
    keys,
    holds: (certificate) => held.has(digest(readCertificate(certificate.raw).publicKey)),
    find(host, address) {
      const names = host === undefined ? [] : hostKeys(foldHost(host));
      const name = names.find((key) => byHost.has(key)) ?? foldHost(address);
      return [...(byHost.get(name)?.values() ?? [])];
    },
  };
}

/** Under which names a host may stand, the closest first: "a.b.c" as itself, as "*.b.c", as "*.c". */
function hostKeys(host: string): string[] {
  if (isIP(host)) return [host];
  const labels = host.split(".");
  return [host, ...labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join(".")}`)];
}

/** One spelling for what means the same: case, a trailing dot, the forms of IPv6, IPv4 within IPv6. */
function foldHost(host: string): string {
  return isIP(host) ? ipaddr.process(host).toString() : host.toLowerCase().replace(/\.$/, "");
}

/** Those of the configuration, then those added at run time, which were issued later the later in the list: a renewed certificate takes over. */
export function byPrecedence(configured: readonly InboundKey[], added: readonly InboundKey[]): InboundKey[] {
  return [...configured, ...added.toSorted((a, b) => a.notBefore - b.notBefore || (a.id < b.id ? -1 : 1))];
}

/**
 * Everything that is wrong with the keys the user gave: a key that does not belong to its certificate, one that its
 * passphrase does not open, none at all, two of one type for one host. Each error has the entry's `path`.
 */
export function checkKeys(sources: readonly KeySource[], read = readKey): ConfigError[] {
  const errors: ConfigError[] = [];
  const taken = new Map<string, string>();
  for (const source of sources) {
    try {
      const { keyType, hosts } = read(source);
      for (const host of new Set(hosts.map(foldHost))) {
        const name = `${keyType} ${host}`;
        const first = taken.get(name);
        if (first !== undefined) {
          const why = `${first} has a key of the same type for ${host}`;
          errors.push(new ConfigError(source.path, `Cannot use ${source.path}: ${why}`));
        }
        taken.set(name, first ?? source.path);
      }
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      errors.push(error);
    }
  }
  return errors;
}

/** How a certificate stands in time. */
export type Validity = "valid" | "expires soon" | "expired" | "not yet valid";

/** `soon` in ms: how long before its end a certificate is said to expire. `now` in ms since the epoch. */
export function validityOf({ notBefore, notAfter }: InboundKey, now: number, soon: number): Validity {
  if (notAfter < now) return "expired";
  if (notBefore > now) return "not yet valid";
  return notAfter - now < soon ? "expires soon" : "valid";
}

/** A log is read by people. */
const MOST_WARNINGS = 20;

/** What the user should hear of, though it stops nothing: certificates whose time is not now, or soon over. */
export function keyWarnings(entries: readonly InboundKey[], now: number, soon: number): string[] {
  const says = (entry: InboundKey): readonly string[] => {
    const subject = `The certificate of ${entry.path} (${entry.hosts[0]})`;
    const validity = validityOf(entry, now, soon);
    if (validity === "valid") return [];
    if (validity === "not yet valid") return [`${subject} is not valid before ${day(entry.notBefore)}`];
    return [`${subject} ${validity === "expired" ? "expired" : "expires"} on ${day(entry.notAfter)}`];
  };
  const warnings = entries.flatMap(says);
  const more = warnings.length - MOST_WARNINGS;
  const rest = `${more} more certificates of inbound keys have expired or soon will; clearline keys list shows them`;
  return more > 0 ? [...warnings.slice(0, MOST_WARNINGS), rest] : warnings;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}
