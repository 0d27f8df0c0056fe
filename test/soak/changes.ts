import { copyFileSync } from "node:fs";
import { join } from "node:path";
import type { TestNode } from "../node.ts";
import { DOMAIN, type Identity, makeLeaf, type Pki } from "../pki.ts";
import type { Trust } from "./trust.ts";

/** What an operator does during a soak: reloads that change the policy, new CAs, and a new certificate of the inbound server. */

export interface Changes {
  /** How many there were of each. */
  counts(): { readonly reloads: number; readonly authorities: number; readonly identities: number };
  /** Resolves once the last one is over. */
  stop(): Promise<void>;
}

/** Seconds between two changes of a kind. */
export interface Pace {
  readonly reload: number;
  readonly renewal: number;
}

/** The files of the inbound server's certificate and key, in the node's folder. */
export const INBOUND_FILES = { certificate: "inbound.pem", key: "inbound.key" };

export function placeInbound(folder: string, { certificate, key }: Identity): void {
  copyFileSync(certificate, join(folder, INBOUND_FILES.certificate));
  copyFileSync(key, join(folder, INBOUND_FILES.key));
}

interface Site {
  readonly node: TestNode;
  readonly pki: Pki;
  readonly trust: Trust;
  readonly policies: readonly object[];
  readonly onFault: (fault: string) => void;
}

/** One after another, so that no reload meets a certificate without its key. */
export function makeChanges({ node, pki, trust, policies, onFault }: Site, pace: Pace): Changes {
  const counts = { reloads: 0, authorities: 0, identities: 0 };
  let last: Promise<void> = Promise.resolve();
  const reload = async () => {
    counts.reloads += 1;
    node.rewrite({ policy: policies[counts.reloads % policies.length] });
    await node.api("reload", "POST");
  };
  const renew = () =>
    trust.change(async () => {
      counts.authorities += 1;
      if (counts.authorities % 2 === 0) await node.api("ca/primary/renew", "POST");
      else {
        await node.api("ca/primary/next", "POST");
        await node.api("ca/primary/activate", "POST");
      }
      return undefined;
    });
  const renewInbound = () =>
    trust.change(async () => {
      counts.identities += 1;
      const identity = await makeLeaf(pki, `inbound-${counts.identities}`, `DNS:*.${DOMAIN}`);
      placeInbound(node.folder, identity);
      await reload();
      return identity;
    });
  const doInTurn = (what: string, change: () => Promise<void>) => {
    last = last.then(change).catch((error: Error) => onFault(`${what}: ${error.message}`));
  };
  const timers = [
    setInterval(() => doInTurn("reload", reload), pace.reload * 1_000),
    setInterval(() => {
      doInTurn("renewal of the CA", renew);
      doInTurn("renewal of the inbound certificate", renewInbound);
    }, pace.renewal * 1_000),
  ];
  return {
    counts: () => counts,
    async stop() {
      for (const timer of timers) clearInterval(timer);
      await last;
    },
  };
}
