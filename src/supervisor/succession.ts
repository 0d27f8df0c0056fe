import { z } from "zod";
import { log } from "../log.ts";
import type { Role } from "../pki/issue/authority-files.ts";
import type { Authority } from "../pki/issue/authority-reading.ts";
import type { AuthorityPair } from "../pki/issue/succession.ts";
import { privateKeyPem } from "../pki/keys/private-key.ts";
import { forgetIssued, noteAuthorities, offer } from "./authority-news.ts";
import type { NodeState } from "./state.ts";

/** How the CAs of the nodes that share a store follow each other: what one of them does, the others do. */

const pair = z.object({ keyType: z.enum(["ecdsa", "rsa"]), pem: z.string(), keyPem: z.string() });
const SUCCESSION = z.object({
  role: z.enum(["primary", "secondary"]),
  before: z.array(z.string()),
  present: z.array(pair),
  next: z.array(pair),
});

/** Tells the other nodes. `before`: the CAs that signed before; empty: they still do. */
export function shareSuccession(
  { authorities, sharing, active }: NodeState,
  role: Role,
  before: readonly string[],
): void {
  if (!sharing.fleet) return;
  // Under a secret made of the former CA's key the new one's would be no safer than that.
  if (active.loaded.sharedSecret === undefined) {
    const why =
      "their common secret is made of the CA's key. Set resumption.secret, or copy the files in ca/ to each node";
    log.warn(`The nodes that share the store do not follow with their ${role} CA: ${why}`);
    return;
  }
  const pairs = (list: readonly Authority[]) => list.filter((one) => one.role === role).map(pairOf);
  sharing.fleet.shareSuccession(role, {
    ...{ role, before, present: pairs(authorities.list()), next: pairs(authorities.next()) },
  });
}

function pairOf({ keyType, certificatePem, key }: Authority): AuthorityPair {
  return { keyType, pem: certificatePem, keyPem: privateKeyPem(key) };
}

/** Warned of once: the store keeps what was written. */
let foreign: string | undefined;

/** Another node's CA has followed the one that both had, or will. Never rejects. */
export async function followSuccession(state: NodeState, written: unknown): Promise<void> {
  const { success, data } = SUCCESSION.safeParse(written);
  if (!success || state.active.loaded.sharedSecret === undefined) return;
  const { role } = data;
  const before = fingerprints(state, role);
  try {
    const outcome = await state.authorities.follow(data, Date.now());
    if (outcome === "followed") await announce(state, role, before !== fingerprints(state, role));
    const text = JSON.stringify(data);
    if (outcome === "foreign" && foreign !== text) {
      foreign = text;
      log.warn(`Another node's ${role} CA was replaced, and this node has another one: it does not follow`);
    }
  } catch (error) {
    // A full disk, say: the message comes again with the next change, and this node goes on with the CA that it has.
    log.error({ err: error }, `Cannot follow another node's ${role} CA`);
  }
}

/** This node has followed another one. `signs`: other CAs sign now; otherwise they will. */
async function announce(state: NodeState, role: Role, signs: boolean): Promise<void> {
  const { authorities } = state;
  offer(state);
  if (!signs) {
    noteAuthorities(state, authorities.next(), role, `Another node has made the ${role} CA that is to follow`);
    return;
  }
  forgetIssued(state);
  noteAuthorities(state, authorities.list(), role, `Another node has replaced the ${role} CA, and this one follows`);
  await state.renewed();
}

function fingerprints({ authorities }: NodeState, role: Role): string {
  return authorities
    .list()
    .flatMap((one) => (one.role === role ? [one.sha256] : []))
    .join(" ");
}
