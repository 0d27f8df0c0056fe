import { lookup, Resolver } from "node:dns/promises";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { setTimeout as after } from "node:timers/promises";
import { Cache, type MadeValue } from "../cache.ts";
import { NetworkError } from "../errors.ts";
import { FileView, readHosts, searchDomains } from "./host-files.ts";
import { readNumericHost } from "./numeric-host.ts";

/**
 * The addresses of host names. getaddrinfo(3) blocks a thread of the few that Node has for as long as a DNS server is silent, and a
 * handful of dead names would stop all others: DNS is asked without threads, once for a name at a time. getaddrinfo answers only for
 * names that DNS does not know, which the system may know by other means.
 */

/** What there is to know of a name. */
type Answer = { readonly addresses: readonly string[] } | { readonly code: string };

/** ms for which an answer holds at most, and for which a failure does. */
const LONGEST = 60_000;
const FAILURE = 5_000;
/** ms that the second family may take longer than the first: RFC 8305, section 3. */
const RESOLUTION_DELAY = 50;
/** ms until a DNS server is asked again, and how often it is. */
const QUESTION = { timeout: 2_000, tries: 2 } as const;
/** Names whose answers are kept. */
export const MOST_NAMES = 4_096;
/** Names that getaddrinfo is asked for at a time. */
const MOST_SYSTEM = 1;

/** Where a resolver finds its files, and its DNS servers where those are not the system's. */
export interface ResolverFiles {
  readonly hosts: string;
  readonly resolv: string;
  readonly servers?: readonly string[];
}

export class HostResolver {
  readonly #hosts: FileView<ReadonlyMap<string, readonly string[]>>;
  readonly #dns: FileView<{ readonly resolver: Resolver; readonly search: readonly string[] }>;
  readonly #answers = new Cache<Answer>({
    entries: MOST_NAMES,
    bytes: 4 << 20,
    sizeOf: (one) => JSON.stringify(one).length,
  });
  #system = 0;
  #negative = 0;
  #waiting = 0;

  constructor({ hosts, resolv, servers }: ResolverFiles) {
    this.#hosts = new FileView(hosts, readHosts);
    this.#dns = new FileView(resolv, (text) => {
      const resolver = new Resolver(QUESTION);
      if (servers) resolver.setServers(servers);
      return { resolver, search: searchDomains(text) };
    });
  }

  get size(): number {
    return this.#answers.size;
  }

  /** Look-ups that found an answer, or one that was being asked for, and those that asked. Neither counts what no DNS is needed for. */
  get hits(): number {
    return this.#answers.hits;
  }

  get misses(): number {
    return this.#answers.misses;
  }

  /** Of the hits, those that found a failure. */
  get negative(): number {
    return this.#negative;
  }

  /** Look-ups that wait for an answer now. */
  get waiting(): number {
    return this.#waiting;
  }

  flush(): void {
    this.#answers.flush();
  }

  /** The addresses of a host, the likelier ones first. A literal is its own address. Throws NetworkError. */
  async resolve(host: string, timeout: number): Promise<readonly string[]> {
    if (isIP(host)) return [host];
    const name = host.toLowerCase().replace(/\.$/, "");
    const numeric = readNumericHost(name);
    const known = numeric === undefined ? (this.#hosts.value.get(name) ?? loopback(name)) : [numeric];
    if (known) return known;
    const { signal, abort } = stopwatch();
    const late = after(timeout, undefined, { signal, ref: false }).then(() => {
      throw new NetworkError(`Cannot resolve ${host} in ${timeout} ms`, "ETIMEDOUT");
    });
    this.#waiting += 1;
    let asks = false;
    const ask = () => {
      asks = true;
      return this.#ask(name);
    };
    try {
      const answer = await Promise.race([this.#answers.take(name, Date.now(), ask), late]);
      if ("addresses" in answer) return answer.addresses;
      if (!asks) this.#negative += 1;
      throw new NetworkError(`Cannot resolve ${host}: ${answer.code}`, answer.code);
    } finally {
      this.#waiting -= 1;
      abort();
      late.catch(() => {});
    }
  }

  async #ask(name: string): Promise<MadeValue<Answer>> {
    const { resolver, search } = this.#dns.value;
    const candidates = name.includes(".") ? [name] : [...search.map((domain) => `${name}.${domain}`), name];
    for (const candidate of candidates) {
      const { addresses, ttl, code } = await askBoth(resolver, candidate);
      if (addresses.length > 0) return { value: { addresses }, until: Date.now() + Math.min(ttl * 1000, LONGEST) };
      if (code !== "ENOTFOUND") return { value: { code }, until: Date.now() + FAILURE };
    }
    const addresses = await this.#askSystem(name);
    const value = addresses.length > 0 ? { addresses } : { code: "ENOTFOUND" };
    return { value, until: Date.now() + FAILURE };
  }

  /** mDNS, NIS and whatever else the system's nsswitch.conf names. */
  async #askSystem(name: string): Promise<readonly string[]> {
    if (this.#system >= MOST_SYSTEM) return [];
    this.#system += 1;
    try {
      return (await lookup(name, { all: true, order: "verbatim" })).map(({ address }) => address);
    } catch {
      return [];
    } finally {
      this.#system -= 1;
    }
  }
}

interface Asked {
  readonly addresses: readonly string[];
  /** s */
  readonly ttl: number;
  /** Why there are none. */
  readonly code: string;
}

/** DNS does not know the name, or there is no DNS here: the system may know it by other means. */
const UNKNOWN: ReadonlySet<string> = new Set(["ENOTFOUND", "ENODATA", "EBADNAME", "ECONNREFUSED"]);

async function askBoth(resolver: Resolver, name: string): Promise<Asked> {
  const found = new Map<4 | 6, readonly { readonly address: string; readonly ttl: number }[]>();
  const codes: string[] = [];
  const questions = ([4, 6] as const).map(async (family) => {
    try {
      const ask = family === 4 ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true });
      found.set(family, await ask);
    } catch (error) {
      codes.push((error as NodeJS.ErrnoException).code ?? "EAI_AGAIN");
      throw error;
    }
  });
  const both = Promise.allSettled(questions);
  await Promise.any(questions).catch(() => {});
  await Promise.race([both, after(RESOLUTION_DELAY, undefined, { ref: false })]);
  const records = (hasIpv6() ? ([6, 4] as const) : ([4, 6] as const)).flatMap((family) => found.get(family) ?? []);
  const unknown = codes.every((code) => UNKNOWN.has(code));
  const code = unknown ? "ENOTFOUND" : codes.includes("ETIMEOUT") ? "ETIMEDOUT" : "EAI_AGAIN";
  return { addresses: records.map(({ address }) => address), ttl: Math.min(...records.map(({ ttl }) => ttl)), code };
}

/** This machine has an IPv6 address that others can answer. */
function hasIpv6(): boolean {
  const all = Object.values(networkInterfaces()).flat();
  return all.some((one) => one?.family === "IPv6" && !one.internal && !one.address.startsWith("fe80:"));
}

/** RFC 6761, section 6.3. */
function loopback(name: string): readonly string[] | undefined {
  return name === "localhost" || name.endsWith(".localhost") ? ["127.0.0.1", "::1"] : undefined;
}

function stopwatch() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

/** This process's. */
export const hostResolver = new HostResolver({ hosts: "/etc/hosts", resolv: "/etc/resolv.conf" });

/** The addresses of a host, the likelier ones first. A literal is its own address. Throws NetworkError. */
export function resolveHost(host: string, timeout: number): Promise<readonly string[]> {
  return hostResolver.resolve(host, timeout);
}
