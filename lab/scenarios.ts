import type { Claim, Scenario } from "./claim.ts";
import { ADDRESSES } from "./claims/addresses.ts";
import { CLOSED_NODE, CLOSED_WORKERS, OPEN_NODE, OPEN_WORKERS } from "./claims/failure.ts";
import { FIRST_PACKET } from "./claims/first-packet.ts";
import { FOUND_TLS } from "./claims/found-tls.ts";
import { CAPABILITY, CRASH, DRAIN, KEEP, KEPT, NO_CAPABILITY, NO_UNDO, PLAN, UNDO } from "./claims/leaving.ts";
import { carries } from "./claims/load.ts";
import { MASQUERADED, masquerade } from "./claims/masquerade.ts";
import { ODD_PACKETS } from "./claims/odd-packets.ts";
import { PAST_THE_NODE } from "./claims/past-the-node.ts";
import { PRIORITY_TAGS } from "./claims/priorities.ts";
import { addRouters, BEYOND_ROUTERS, ROUTES } from "./claims/routers.ts";
import { OTHER_SETTINGS, SETTINGS } from "./claims/settings.ts";
import { ONE_TOOL, ROUTER_TOOL, TOOL_CONFIG, TWO_TOOLS } from "./claims/tools.ts";
import { TRAFFIC } from "./claims/traffic.ts";
import { BOTH_WAYS, MID_STREAM_RESET, UNSEEN } from "./claims/unseen.ts";
import { TRUNK, TRUNK_LISTENER, VLAN_CONFIG, VLAN_LISTENER, VLANS } from "./claims/vlans.ts";
import { WAY } from "./claims/way.ts";
import { addVlans } from "./vlan-stage.ts";

/** A node with the default settings, which still works afterwards. `load`: how many seconds the clients of the last claim run. */
export function ordinary(load: number): Scenario {
  return {
    about: "Default settings",
    claims: [
      ...ADDRESSES,
      ...WAY,
      ...TRAFFIC,
      ...FOUND_TLS,
      ...FIRST_PACKET,
      ...PAST_THE_NODE,
      ...ODD_PACKETS,
      ...PRIORITY_TAGS,
      ...UNSEEN,
      ...BOTH_WAYS.map(onBridge),
      carries(load),
    ],
  };
}

/** Only a bridge takes connections of both sides by default. */
function onBridge(claim: Claim): Claim {
  return { ...claim, only: "bridge" };
}

/** Nodes with other settings, and with failures: the last claims of each stop or kill its node. */
export const SPECIAL = {
  open: { about: "Failure, open", claims: [OPEN_WORKERS, OPEN_NODE, CRASH] },
  closed: { about: "Failure, closed", listener: { failure: "closed" }, claims: [CLOSED_WORKERS, CLOSED_NODE, UNDO] },
  masquerade: { about: "Firewall and masquerading", prepare: masquerade, claims: MASQUERADED },
  routers: {
    about: "Routers on both sides of the bridge",
    prepare: addRouters,
    listener: ROUTES,
    claims: BEYOND_ROUTERS,
  },
  kept: { about: "stop: keep", listener: KEPT, claims: [KEEP] },
  settings: {
    about: "Other settings",
    listener: OTHER_SETTINGS,
    claims: [...MID_STREAM_RESET, ...BOTH_WAYS, ...SETTINGS],
  },
  vlans: {
    about: "VLANs on one bridge",
    prepare: addVlans,
    listener: VLAN_LISTENER,
    config: VLAN_CONFIG,
    claims: VLANS,
  },
  trunk: { about: "VLANs only", prepare: addVlans, listener: TRUNK_LISTENER, config: VLAN_CONFIG, claims: TRUNK },
  tool: { about: "A tool", tools: [{ name: "ips" }], config: TOOL_CONFIG, claims: ONE_TOOL },
  tools: { about: "Two tools", tools: [{ name: "ips" }, { name: "dlp", onFailure: "bypass" }], claims: TWO_TOOLS },
  routerTool: { about: "A tool that is a router", tools: [{ name: "fw", layer: 3 }], claims: ROUTER_TOOL },
  confined: {
    about: "Privileges, and a stop",
    config: { timeouts: { drain: "30s" } },
    confined: true,
    claims: [CAPABILITY, PLAN, NO_UNDO, DRAIN, NO_CAPABILITY],
  },
} as const satisfies Readonly<Record<string, Scenario>>;
