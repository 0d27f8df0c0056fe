import { CONFIGURATION } from "./configuration.ts";
import { DISKS } from "./disks.ts";
import type { Fault } from "./fault.ts";
import { KILLED } from "./kills.ts";
import { NETWORK } from "./network.ts";
import { PARTS } from "./parts.ts";
import { PEERS } from "./peers.ts";
import { PROCESSES } from "./processes.ts";

/** Every fault, in the order of the page. */
export const FAULTS: readonly Fault[] = [
  ...PROCESSES,
  ...DISKS,
  ...CONFIGURATION,
  ...PEERS,
  ...PARTS,
  ...KILLED,
  ...NETWORK,
];
