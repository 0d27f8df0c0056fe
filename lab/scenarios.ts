import type { Scenario } from "./claim.ts";
import { ADDRESSES } from "./claims/addresses.ts";
import { FIRST_PACKET } from "./claims/first-packet.ts";
import { PAST_THE_NODE } from "./claims/past-the-node.ts";
import { TRAFFIC } from "./claims/traffic.ts";

/** Everything that the lab can show of an inline node. Each has a network and a node of its own. */
export const SCENARIOS: readonly Scenario[] = [
  { about: "addresses and traffic", claims: [...ADDRESSES, ...TRAFFIC] },
  { about: "the first packet", claims: FIRST_PACKET },
  { about: "what the kernel forwards", claims: PAST_THE_NODE },
];
