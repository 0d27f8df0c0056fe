import type { Action, Fault } from "../vocabulary.ts";
import type { HostSet } from "./host-set.ts";
import type { Truth } from "./truth.ts";
import type { View } from "./view.ts";

/** What a host condition is for: its step's action, and the faults that the step names. */
export interface HostPurpose {
  readonly action: Action;
  readonly faults: readonly Fault[];
}

/** Nobody whom the node trusts vouches for the names of a certificate with one of these faults. */
const UNVOUCHED: readonly Fault[] = ["expired", "selfSigned", "unknownIssuer", "invalid", "revoked"];

/**
 * Whether a flow's hosts are in the set. Without SNI and CONNECT host the certificate's names stand for the host, and the server
 * chooses its certificate. It must not choose the weaker reading, so a bypass needs a good certificate whose names are all in the
 * set; a wildcard is in it only if the set has the whole of it. For a drop or decrypt one name is enough that may be in the set.
 */
export function matchHosts(
  set: HostSet<unknown>,
  { action, faults }: HostPurpose,
  { hosts, certificate }: View,
): Truth {
  if (hosts.open) return hosts.names.some((name) => set.find(name).length > 0) || "unknown";
  if (hosts.from === "client") return hosts.names.some((name) => set.find(name).length > 0);
  if (action !== "bypass") return hosts.names.some((name) => set.reach(name).length > 0);
  const isVouchedFor =
    certificate?.faults.every((fault) => !UNVOUCHED.includes(fault) || faults.includes(fault)) ?? false;
  return isVouchedFor && hosts.names.length > 0 && hosts.names.every((name) => set.find(name).length > 0);
}
