import { X509Certificate } from "node:crypto";
import { Cache } from "../../cache.ts";
import type { Fault } from "../../vocabulary.ts";
import type { InboundKey } from "../keys/inbound-key.ts";
import type { Keystore } from "../keys/keystore.ts";
import type { RevocationChecker, RevocationFinding } from "../revocation/revocation.ts";
import type { RevocationRecord } from "../revocation/revocation-answer.ts";
import { type RecordedCertificate, recordCertificate } from "../x509/certificate-record.ts";
import { isSelfIssued } from "../x509/issuing.ts";
import { keysToShow } from "./held-keys.ts";
import type { FetchIssuers } from "./issuer-fetch.ts";
import type { KeyUse } from "./strictness.ts";
import { type FoundFault, type VerifiedChain, verifyServer } from "./verify.ts";

/** The findings about a server: its certificate with all faults, and the node's own keys for it. */
export interface JudgedServer {
  readonly record: RecordedCertificate & {
    readonly faults: readonly FoundFault[];
    readonly revocation?: RevocationRecord;
  };
  readonly facts: {
    readonly names: readonly string[];
    readonly issuer: string;
    readonly faults: readonly Fault[];
    /** Whether `askRevocation` may still add a fault. */
    readonly revocationOpen: boolean;
  };
  /** The node's own keys whose certificates the client may be shown. */
  readonly held: readonly InboundKey[];
  /** Asks OCSP responders and fetches revocation lists. Absent when the answer is known or not wanted. */
  readonly askRevocation?: () => Promise<JudgedServer>;
}

/** The certificate that a server showed. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** This and the certificates that the server sent with it, in DER. */
  readonly ders: readonly Buffer[];
  /** Names these bytes. */
  readonly key: string;
  readonly use?: KeyUse | undefined;
  /** The OCSP response that the server stapled. */
  readonly staple?: Buffer | undefined;
}

/**
 * `host`: the name or address that the client requested, if it is known; `address`: the server's. `now` in ms since the
 * epoch. Throws PeerError when the certificate is not X.509 in DER.
 */
export type Judge = (
  shown: ShownCertificate,
  host: string | undefined,
  address: string,
  now: number,
) => JudgedServer | Promise<JudgedServer>;

/** Has OpenSSL verify a chain, in DER, the server's own certificate first. `now` in ms since the epoch. */
export type VerifyChain = (ders: readonly Buffer[], now: number) => VerifiedChain;

/** A chain without what has been read of it. */
interface KeptChain extends Omit<VerifiedChain, "path"> {
  readonly ders: readonly Buffer[];
}

/** By chain, and by chain, host and use: a busy server shows the same chain often. */
export type VerifiedCache = Cache<KeptChain | readonly FoundFault[]>;

/** `entries`: the most findings. */
export function createVerifiedCache(entries: number): VerifiedCache {
  return new Cache({
    ...{ entries, bytes: 16 * 2 ** 20 },
    sizeOf: (kept) => ("ders" in kept ? bytesOf(kept) : FAULT_BYTES * kept.length),
  });
}

/** There are as many faults as kinds of them, and their texts are constants. */
const FAULT_BYTES = 100;

function bytesOf({ ders, errors }: KeptChain): number {
  return ders.reduce((sum, { length }) => sum + FAULT_BYTES + length, FAULT_BYTES * errors.length);
}

/** ms that a finding is used. */
const FRESH = 60_000;

export interface JudgeResources {
  readonly keystore: Keystore;
  readonly verifyChain: VerifyChain;
  readonly verified: VerifiedCache;
  /** Undefined: revocation is not checked. */
  readonly revocation?: RevocationChecker | undefined;
  /** Where intermediates come from that a server did not send, and the most ms for all of a chain. Undefined: nowhere. */
  readonly issuers?: { readonly fetch: FetchIssuers; readonly timeout: number } | undefined;
}

/** Makes the judge of server certificates, of every version of TLS. */
export function createJudge({ keystore, verifyChain, verified, revocation, issuers }: JudgeResources): Judge {
  return (shown, host, address, now) => {
    const { certificate: leaf } = shown;
    const record = recordCertificate(leaf);
    const held = keystore.find(host, address);
    // The handshake proved that the server has the same private key as the node. No CA could prove more.
    if (held.length > 0 && keystore.holds(leaf, host, address))
      return describe({ record, faults: [], show: () => held });
    const judgeBy = (chain: KeptChain): JudgedServer => {
      const faults = faultsOf(shown, chain, host, now);
      const show: VerifiedServer["show"] = (all) => keysToShow(held, { leaf, faults: all, host, address });
      const server = { record, faults, show };
      return revocation ? withRevocation(server, chain, revocation, shown.staple, now) : describe(server);
    };
    const chain = chainOf(shown, now);
    const mayBeCompleted = issuers !== undefined && !chain.anchored && !isWhole(chain);
    return mayBeCompleted ? completed(shown, chain, issuers, now).then(judgeBy) : judgeBy(chain);
  };

  /** One chain may be shown for many hosts. */
  function chainOf({ ders, key }: ShownCertificate, now: number): KeptChain {
    const known = verified.find(key, now);
    if (known && "ders" in known) return known;
    const kept = verifyKept(ders, now);
    verified.keep(key, kept, now + FRESH);
    return kept;
  }

  function verifyKept(ders: readonly Buffer[], now: number): KeptChain {
    const { path, ...chain } = verifyChain(ders, now);
    return { ...chain, ders: path.map(({ raw }) => raw) };
  }

  /** The chain with the intermediates that the server did not send. Sessions with the same chain share the fetches. */
  async function completed(
    { ders, key }: ShownCertificate,
    first: KeptChain,
    { fetch, timeout }: NonNullable<JudgeResources["issuers"]>,
    now: number,
  ): Promise<KeptChain> {
    const found = await verified.take(`${key} completed`, now, async () => {
      const deadline = performance.now() + timeout;
      let [chain, all] = [first, ders];
      for (let step = 0; step < MAX_FETCHED && !chain.anchored && !isWhole(chain); step += 1) {
        const fetched = await fetch(new X509Certificate(chain.ders.at(-1)!), deadline);
        const longer = fetched.length > 0 ? verifyKept([...all, ...fetched], now) : chain;
        if (longer.ders.length <= chain.ders.length) break;
        [chain, all] = [longer, [...all, ...fetched]];
      }
      return { value: chain, until: now + FRESH };
    });
    return "ders" in found ? found : first;
  }

  function faultsOf(
    { certificate: leaf, key, use }: ShownCertificate,
    chain: KeptChain,
    host: string | undefined,
    now: number,
  ): readonly FoundFault[] {
    const name = JSON.stringify([key, chain.ders.length, use, host]);
    const known = verified.find(name, now);
    if (known && !("ders" in known)) return known;
    const faults = verifyServer({ leaf, chain: opened(chain), host, use, now });
    verified.keep(name, faults, now + FRESH);
    return faults;
  }
}

/** Intermediates that one chain may lack. */
const MAX_FETCHED = 3;

/** Whether the last certificate signed itself: nobody else's can be fetched. Or there is none that can be read. */
function isWhole({ ders }: KeptChain): boolean {
  const last = ders.at(-1);
  return last === undefined || isSelfIssued(new X509Certificate(last));
}

/** Reading certificates costs more than keeping them. */
function opened(chain: KeptChain): VerifiedChain {
  return { ...chain, path: chain.ders.map((der) => new X509Certificate(der)) };
}

function withRevocation(
  server: VerifiedServer,
  chain: KeptChain,
  checker: RevocationChecker,
  staple: Buffer | undefined,
  now: number,
): JudgedServer {
  const { sha256 } = server.record;
  const known = checker.known(sha256, staple, now);
  if (known) return describe(server, known);
  // Only a chain with a trusted end may name addresses to ask: others could name any address.
  if (!chain.anchored || chain.ders.length < 2) return describe(server);
  const { facts, ...judged } = describe(server);
  return {
    ...judged,
    facts: { ...facts, revocationOpen: true },
    askRevocation: async () => describe(server, await checker.ask(sha256, opened(chain).path, staple)),
  };
}

interface VerifiedServer {
  readonly record: RecordedCertificate;
  /** All faults but those of revocation. */
  readonly faults: readonly FoundFault[];
  /** The node's own keys for a server with these faults. */
  readonly show: (faults: readonly Fault[]) => readonly InboundKey[];
}

const REVOCATION_CODES = { revoked: "CERT_REVOKED", revocationUnknown: "REVOCATION_UNKNOWN" } as const;

function describe({ record, faults: others, show }: VerifiedServer, revocation?: RevocationFinding): JudgedServer {
  const fault = revocation?.fault;
  const faults = fault ? [...others, { fault, code: REVOCATION_CODES[fault] }] : others;
  const { names, issuer } = record;
  const kinds = faults.map((found) => found.fault);
  return {
    record: { ...record, faults, ...(revocation && { revocation: revocation.record }) },
    facts: { names, issuer, faults: kinds, revocationOpen: false },
    held: show(kinds),
  };
}
