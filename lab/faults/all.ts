import { CLAIMED } from "./claims.ts";
import { CONFIGURATION } from "./configuration.ts";
import { DISKS } from "./disks.ts";
import type { Fault } from "./fault.ts";
import { INLINE } from "./inline.ts";
import { KILLED } from "./kills.ts";
import { LIMITS } from "./limits.ts";
import { NETWORK } from "./network.ts";
import { PARTS } from "./parts.ts";
import { PEERS } from "./peers.ts";
import { PROCESSES } from "./processes.ts";
import { SLOW_CLIENTS } from "./slow-clients.ts";
import { SLOW_SERVERS } from "./slow-servers.ts";
import { UPGRADES } from "./upgrades.ts";

/** Every fault, in the order of the page. */
export const FAULTS: readonly Fault[] = [
  ...PROCESSES,
  ...DISKS,
  ...CONFIGURATION,
  ...PEERS,
  ...SLOW_CLIENTS,
  ...SLOW_SERVERS,
  ...PARTS,
  ...KILLED,
  ...UPGRADES,
  ...LIMITS,
  ...CLAIMED,
  ...NETWORK,
  ...INLINE,
];
