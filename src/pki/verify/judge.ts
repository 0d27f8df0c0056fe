import type { X509Certificate } from "node:crypto";
import { Cache } from "../../cache.ts";
import type { Fault } from "../../vocabulary.ts";
import type { InboundKey } from "../keys/inbound-key.ts";
import type { Keystore } from "../keys/keystore.ts";
import type { RevocationChecker, RevocationFinding } from "../revocation/revocation.ts";
import type { RevocationRecord } from "../revocation/revocation-answer.ts";
import { type RecordedCertificate, recordCertificate } from "../x509/certificate-record.ts";
import { createRootSet, findChain } from "../x509/chain.ts";
import { keysToShow } from "./held-keys.ts";
import { type FoundFault, verifyServer } from "./verify.ts";

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

/** The certificate that a server showed, and OpenSSL's result. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** The certificates that the server sent with it. */
  readonly sent: readonly X509Certificate[];
  /** OpenSSL's error; undefined: it found none. */
  readonly verifyCode: string | undefined;
  /** The OCSP response that the server stapled. */
  readonly staple?: Buffer | undefined;
}

/**
 * `host`: the name or address that the client requested, if it is known; `address`: the server's. `now` in ms since the
 * epoch. Throws PeerError when the certificate is not X.509 in DER.
 */
export type Judge = (shown: ShownCertificate, host: string | undefined, address: string, now: number) => JudgedServer;

/** Findings for certificates without an OpenSSL error, by certificate and host: a busy server shows the same one often. */
export type VerifiedCache = Cache<readonly FoundFault[]>;

export function createVerifiedCache(entries: number): VerifiedCache {
  return new Cache({ entries, bytes: 2 * 2 ** 20, sizeOf: (faults) => FAULT_BYTES * faults.length });
}

/** There are as many faults as kinds of them, and their texts are constants. */
const FAULT_BYTES = 100;

/** ms that a finding is used. */
const FRESH = 60_000;

/** Makes the judge of server certificates. Without `revocation` it does not check revocation. */
export function createJudge(
  keystore: Keystore,
  roots: readonly string[],
  verified: VerifiedCache = createVerifiedCache(2_000),
  revocation?: RevocationChecker,
): Judge {
  const rootSet = createRootSet(roots);

  return (shown, host, address, now) => {
    const record = recordCertificate(shown.certificate);
    const held = keystore.find(host, address);
    const { certificate: leaf } = shown;
    // The handshake proved that the server has the same private key as the node. No CA could prove more.
    if (held.length > 0 && keystore.holds(leaf, host, address))
      return describe({ record, faults: [], show: () => held });
    const faults = verify(shown, record.sha256, host, now);
    const show: VerifiedServer["show"] = (all) => keysToShow(held, { leaf, faults: all, host, address });
    const server = { record, faults, show };
    return revocation ? withRevocation(server, revocation, shown, now) : describe(server);
  };

  function verify(
    { certificate: leaf, sent, verifyCode: code }: ShownCertificate,
    sha256: string,
    host: string | undefined,
    now: number,
  ): readonly FoundFault[] {
    const name = `${sha256} ${host ?? ""}`;
    const known = code === undefined ? verified.find(name, now) : undefined;
    if (known) return known;
    const { faults } = verifyServer({ leaf, sent, code, host, roots: rootSet, now });
    if (code === undefined) verified.keep(name, faults, now + FRESH);
    return faults;
  }

  function withRevocation(
    server: VerifiedServer,
    checker: RevocationChecker,
    { certificate, sent, staple }: ShownCertificate,
    now: number,
  ): JudgedServer {
    const { sha256 } = server.record;
    const known = checker.known(sha256, staple, now);
    if (known) return describe(server, known);
    // Only a chain with a trusted root may name addresses to ask: others could name any address.
    const { path, anchored } = findChain(certificate, rootSet, sent);
    if (!anchored || path.length < 2) return describe(server);
    const { facts, ...judged } = describe(server);
    return {
      ...judged,
      facts: { ...facts, revocationOpen: true },
      askRevocation: async () => describe(server, await checker.ask(sha256, path, staple)),
    };
  }
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
