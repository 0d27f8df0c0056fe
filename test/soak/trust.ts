import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import type { TestNode } from "../node.ts";
import type { Identity, Pki } from "../pki.ts";
import { BYPASSED, INBOUND } from "./policy.ts";

/**
 * What the clients of a soak trust: each certificate that they are shown must be signed by the CA that the node has at the time, the
 * server's own where the node bypasses, and the one that the node holds where it has the server's key.
 */
export interface Trust {
  /** `host`: undefined: the client named none. `began`: when it connected, in ms since the epoch. */
  check(shown: X509Certificate, host: string | undefined, began: number): Promise<void>;
  /** Runs what changes the node's certificates. `identity`: the inbound one that it presents from then on. */
  change(by: () => Promise<Identity | undefined>): Promise<void>;
}

/** ms after a change in which new sessions may still be shown what was before: workers hear of it a little later. */
const GRACE = 5_000;
/** The clients forget the oldest. */
const MOST = 24;

interface Known {
  readonly certificate: X509Certificate;
  /** When it was replaced, in ms since the epoch. */
  until: number;
}

export async function createTrust(node: TestNode, pki: Pki, first: Identity): Promise<Trust> {
  const own = new X509Certificate(readFileSync(pki.server.ecdsa.certificate));
  const [authorities, identities]: Known[][] = [[], []];
  let changed: Promise<void> = Promise.resolve();
  const learn = async (identity: Identity | undefined) => {
    const pems = await Promise.all(["ecdsa", "rsa"].map((type) => node.api<string>(`ca/primary/${type}`)));
    replace(authorities!, pems);
    if (identity) replace(identities!, [readFileSync(identity.certificate, "utf8")]);
  };
  await learn(first);
  /** When what is shown was replaced; undefined: nobody knows it. */
  const isKnown = (shown: X509Certificate, host: string | undefined): number | undefined => {
    if (host === BYPASSED) return shown.raw.equals(own.raw) ? Infinity : undefined;
    if (host === INBOUND) return identities!.find(({ certificate }) => shown.raw.equals(certificate.raw))?.until;
    return authorities!.find(({ certificate }) => isSignedBy(shown, certificate))?.until;
  };
  return {
    async check(shown, host, began) {
      if (host !== undefined && shown.checkHost(host) === undefined)
        throw new Error(`a certificate for ${shown.subjectAltName} was shown for ${host}`);
      let until = isKnown(shown, host);
      if (until === undefined) {
        // What signed it may be so new that only the node knows of it.
        await changed;
        until = isKnown(shown, host);
      }
      if (until === undefined) throw new Error(`nobody trusts what was shown: ${shown.subject}, by ${shown.issuer}`);
      if (began > until + GRACE) throw new Error(`what was shown is ${began - until} ms out of date: ${shown.subject}`);
    },
    async change(by) {
      const now = by().then(learn);
      changed = now.catch(() => undefined);
      await now;
    },
  };
}

function isSignedBy(shown: X509Certificate, authority: X509Certificate): boolean {
  return shown.checkIssued(authority) && shown.verify(authority.publicKey);
}

/** The newest first. */
function replace(known: Known[], pems: readonly string[]): void {
  const now = pems.map((pem) => new X509Certificate(pem));
  for (const one of known)
    if (one.until === Infinity && !now.some(({ raw }) => raw.equals(one.certificate.raw))) one.until = Date.now();
  const fresh = now.filter(
    ({ raw }) => !known.some(({ certificate, until }) => until === Infinity && raw.equals(certificate.raw)),
  );
  known.unshift(...fresh.map((certificate) => ({ certificate, until: Infinity })));
  known.length = Math.min(known.length, MOST);
}
