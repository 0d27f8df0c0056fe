import type { X509Certificate } from "node:crypto";
import { type Cache, createCache } from "../../cache.ts";
import type { Fault } from "../../vocabulary.ts";
import type { InboundKey } from "../keys/key-source.ts";
import type { Keystore } from "../keys/keystore.ts";
import type { RevocationChecker, RevocationFinding } from "../revocation/revocation.ts";
import type { RevocationRecord } from "../revocation/revocation-answer.ts";
import { type RecordedCertificate, recordCertificate } from "../x509/certificate-record.ts";
import { createRootSet, findChain } from "../x509/chain.ts";
import { type FoundFault, verifyServer } from "./verify.ts";

/** What there is to say of a server: its certificate, everything wrong with it, and the node's own keys for it. */
export interface JudgedServer {
  readonly record: RecordedCertificate & {
    readonly faults: readonly FoundFault[];
    readonly revocation?: RevocationRecord;
  };
  readonly facts: {
    readonly names: readonly string[];
    readonly issuer: string;
    readonly faults: readonly Fault[];
    readonly revocationOpen: boolean;
  };
  readonly held: readonly InboundKey[];
  /** Asks others whether it was revoked, and answers with what is known then. Undefined: that is known, or is not asked. */
  readonly askRevocation?: () => Promise<JudgedServer>;
}

/** What OpenSSL saw: the certificate and its code; undefined: the chain is good. */
export interface ShownCertificate {
  readonly certificate: X509Certificate;
  /** Those sent along with it; without it, those that hang on it as the TLS socket gave it. */
  readonly sent?: readonly X509Certificate[];
  readonly verifyCode: string | undefined;
  /** The OCSP response that the server stapled. */
  readonly staple?: Buffer | undefined;
}

/** Certificates that OpenSSL found good, with what was found, by certificate and host: busy servers show the same one each time. */
export type VerifiedCache = Cache<readonly FoundFault[]>;

/** For this time, in ms, a certificate is not verified anew. */
const FRESH = 60_000;

/**
 * Makes the judge of servers, which remembers in `verified` what it need not look at again. `host` is whom the client meant, `address` where it went, `now` in ms since the epoch.
 * Without `revocation` nobody is asked whether a certificate was revoked.
 */
export function createJudge(
  keystore: Keystore,
  roots: readonly string[],
  verified: VerifiedCache = createCache({ entries: 2_000 }),
  revocation?: RevocationChecker,
): (shown: ShownCertificate, host: string | undefined, address: string, now: number) => JudgedServer {
  const rootSet = createRootSet(roots);

  return (shown, host, address, now) => {
    const record = recordCertificate(shown.certificate);
    const held = keystore.find(host, address);
    // Who shows the certificate whose key we hold has proven it by the handshake: that says more than any CA.
    const own = held.length > 0 && keystore.holds(shown.certificate);
    const faults = own ? [] : verify(shown, record.sha256, host, now);
    const judged = judgedOf({ record, faults, held });
    return own || !revocation ? judged : withRevocation(judged, revocation, shown, now);
  };

  function withRevocation(
    { record, held }: JudgedServer,
    asked: RevocationChecker,
    { certificate, sent, staple }: ShownCertificate,
    now: number,
  ): JudgedServer {
    const { faults } = record;
    const known = asked.known(record.sha256, staple, now);
    if (known) return judgedOf({ record, faults, held, known });
    // Only a chain that somebody we trust stands behind may say whom to ask: its author could name any address.
    const { path, anchored } = findChain(certificate, rootSet, sent);
    if (!anchored || path.length < 2) return judgedOf({ record, faults, held });
    return {
      ...judgedOf({ record, faults, held, isOpen: true }),
      askRevocation: async () =>
        judgedOf({ record, faults, held, known: await asked.ask(record.sha256, path, staple) }),
    };
  }

  function verify(
    shown: ShownCertificate,
    sha256: string,
    host: string | undefined,
    now: number,
  ): readonly FoundFault[] {
    const { certificate: leaf, sent, verifyCode: code } = shown;
    const name = `${sha256} ${host ?? ""}`;
    const known = code === undefined ? verified.find(name, now) : undefined;
    if (known) return known;
    const { faults } = verifyServer({ leaf, ...(sent && { sent }), code, host, roots: rootSet, now });
    if (code === undefined) verified.keep(name, faults, now + FRESH);
    return faults;
  }
}

interface Known {
  readonly record: RecordedCertificate;
  /** Those that are found without asking anybody. */
  readonly faults: readonly FoundFault[];
  readonly held: readonly InboundKey[];
  readonly known?: RevocationFinding;
  readonly isOpen?: boolean;
}

function judgedOf({ record, faults: own, held, known, isOpen = false }: Known): JudgedServer {
  const faults = known?.fault ? [...own, known.fault] : own;
  const { names, issuer } = record;
  return {
    record: { ...record, faults, ...(known && { revocation: known.record }) },
    facts: { names, issuer, faults: faults.map(({ fault }) => fault), revocationOpen: isOpen },
    held,
  };
}
