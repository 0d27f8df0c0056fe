import type { Scenario } from "./claim.ts";
import { ADDRESSES } from "./claims/addresses.ts";
import { CLOSED_NODE, CLOSED_WORKERS, OPEN_NODE, OPEN_WORKERS } from "./claims/failure.ts";
import { FIRST_PACKET } from "./claims/first-packet.ts";
import { CAPABILITY, CRASH, DRAIN, NO_CAPABILITY, PLAN } from "./claims/leaving.ts";
import { carries } from "./claims/load.ts";
import { PAST_THE_NODE } from "./claims/past-the-node.ts";
import { OTHER_SETTINGS, SETTINGS } from "./claims/settings.ts";
import { TRAFFIC } from "./claims/traffic.ts";

const CLOSED = { failure: "closed" } as const;

/** Everything that the lab can show of an inline node. Each has a network and a node of its own; some do not leave it whole. */
export const SCENARIOS = {
  traffic: { about: "Addresses and traffic", claims: [...ADDRESSES, ...TRAFFIC] },
  firstPacket: { about: "The first packet", claims: FIRST_PACKET },
  pastTheNode: { about: "What the kernel forwards", claims: PAST_THE_NODE },
  settings: { about: "Settings", listener: OTHER_SETTINGS, claims: SETTINGS },
  open: { about: "Failure, open", claims: [OPEN_WORKERS, OPEN_NODE] },
  closed: { about: "Failure, closed", listener: CLOSED, claims: [CLOSED_WORKERS, CLOSED_NODE] },
  drain: { about: "Leaving", config: { timeouts: { drain: "30s" } }, claims: [PLAN, DRAIN] },
  crash: { about: "After a crash", claims: [CRASH] },
  rights: { about: "Rights", confined: true, claims: [CAPABILITY, NO_CAPABILITY] },
  shortLoad: { about: "Load", claims: [carries(8)] },
  longLoad: { about: "Load", claims: [carries(30)] },
} as const satisfies Readonly<Record<string, Scenario>>;
