import type { Scenario } from "./claim.ts";
import { ADDRESSES } from "./claims/addresses.ts";
import { CLOSED_NODE, CLOSED_WORKERS, OPEN_NODE, OPEN_WORKERS } from "./claims/failure.ts";
import { FIRST_PACKET } from "./claims/first-packet.ts";
import { CAPABILITY, CRASH, DRAIN, KEEP, KEPT, NO_CAPABILITY, NO_UNDO, PLAN, UNDO } from "./claims/leaving.ts";
import { carries } from "./claims/load.ts";
import { MASQUERADED, masquerade } from "./claims/masquerade.ts";
import { PAST_THE_NODE } from "./claims/past-the-node.ts";
import { addRouters, BEYOND_ROUTERS, ROUTES } from "./claims/routers.ts";
import { OTHER_SETTINGS, SETTINGS } from "./claims/settings.ts";
import { ONE_TOOL, ROUTER_TOOL, TOOL_CONFIG, TWO_TOOLS } from "./claims/tools.ts";
import { TRAFFIC } from "./claims/traffic.ts";

/** A node as it comes, which is whole afterwards. `load`: seconds of 200 parallel clients at the end. */
export function ordinary(load: number): Scenario {
  return { about: "As it comes", claims: [...ADDRESSES, ...TRAFFIC, ...FIRST_PACKET, ...PAST_THE_NODE, carries(load)] };
}

/** Nodes with a configuration of their own, and what becomes of them: the last claims of each do not leave it whole. */
export const SPECIAL = {
  open: { about: "Failure, open", claims: [OPEN_WORKERS, OPEN_NODE, CRASH] },
  closed: { about: "Failure, closed", listener: { failure: "closed" }, claims: [CLOSED_WORKERS, CLOSED_NODE, UNDO] },
  masquerade: { about: "With a firewall, behind one address", prepare: masquerade, claims: MASQUERADED },
  routers: { about: "Routers on the wire", prepare: addRouters, listener: ROUTES, claims: BEYOND_ROUTERS },
  kept: { about: "Left standing", listener: KEPT, claims: [KEEP] },
  settings: { about: "Other settings", listener: OTHER_SETTINGS, claims: SETTINGS },
  tool: { about: "A tool", tools: [{ name: "ips" }], config: TOOL_CONFIG, claims: ONE_TOOL },
  tools: { about: "Two tools", tools: [{ name: "ips" }, { name: "dlp", onFailure: "bypass" }], claims: TWO_TOOLS },
  routerTool: { about: "A tool that is a router", tools: [{ name: "fw", layer: 3 }], claims: ROUTER_TOOL },
  confined: {
    about: "Rights, and how it leaves",
    config: { timeouts: { drain: "30s" } },
    confined: true,
    claims: [CAPABILITY, PLAN, NO_UNDO, DRAIN, NO_CAPABILITY],
  },
} as const satisfies Readonly<Record<string, Scenario>>;
