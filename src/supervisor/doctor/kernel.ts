import type { Loaded } from "../../config/load.ts";
import { ConfigError } from "../../errors.ts";
import { areListenersSetUp, listenersLeft } from "../../kernel/listeners.ts";
import { areToolsSetUp } from "../../kernel/tools.ts";
import { holdsCapability } from "../../linux/capabilities.ts";
import { readConntrack } from "../../linux/conntrack.ts";
import { probeFeatures } from "../../linux/nftables.ts";
import { readLink } from "../../linux/routes.ts";
import { CONNTRACK_REMEDY, judgeConntrack } from "../conntrack.ts";
import { bad, type Finding, ok, unseen, warning } from "./check.ts";

/**
 * What inline listeners and inline tools need of the kernel. `ofNode`: what a running node finds changed; undefined: none runs, so that
 * nothing should stand but what a listener with `stop: keep` left.
 */
export async function checkKernel({ config }: Loaded, ofNode: readonly Finding[] | undefined): Promise<Finding[]> {
  const listeners = config.listeners.flatMap((one) => ("networkA" in one ? [one] : []));
  const tools = config.tools.flatMap((one) => ("interfaceA" in one ? [one] : []));
  if (listeners.length + tools.length === 0)
    return [ok("No listener and no tool is inline: the node changes nothing in it")];
  const links = [
    ...listeners.flatMap(({ networkA, networkB }) => [networkA, networkB]),
    // A running node has moved them into the tool's namespace.
    ...(ofNode ? [] : tools.flatMap(({ interfaceA, interfaceB }) => [interfaceA, interfaceB])),
  ];
  const missing = links.filter((name) => readLink(name) === undefined);
  return [
    ...features(),
    ...missing.map((name) => bad(`There is no interface ${name}`, "Set it up, or correct its name: ip link")),
    ...(ofNode ? rules(ofNode) : await leftovers(config)),
  ];
}

/** The kernel's connection table, in this network namespace. */
export function checkConntrack(): Finding[] {
  const says = judgeConntrack(readConntrack());
  return says === undefined ? [] : [warning(says, CONNTRACK_REMEDY)];
}

function features(): Finding[] {
  if (!holdsCapability("CAP_NET_ADMIN")) return [unseen("the kernel's rules and features")];
  try {
    const able = probeFeatures();
    const missing = (["tproxy", "socketMatch", "fib", "hash", "reject", "bridge"] as const).filter(
      (name) => !able[name],
    );
    if (missing.length > 0)
      return [
        bad(
          `nftables lacks ${missing.join(", ")}`,
          "Load the kernel's modules: modprobe nft_tproxy nft_socket nft_fib_inet nft_hash",
        ),
      ];
    if (!able.nftQueue && !able.iptablesNft)
      return [bad("Neither nft's queue nor iptables-nft is there to hold SYNs", "apt-get install iptables")];
    return [ok(`nftables has what inline listeners need${able.nftQueue ? "" : ", with iptables-nft for the queue"}`)];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [bad(error.message, "apt-get install nftables")];
  }
}

function rules(ofNode: readonly Finding[]): readonly Finding[] {
  return ofNode.length > 0 ? ofNode : [ok("The rules, routes and settings are as the node planned them")];
}

async function leftovers({ dataDir, listeners }: Loaded["config"]): Promise<Finding[]> {
  const keeps = listeners.some((one) => one.mode === "inline" && one.stop === "keep");
  const found = [
    ...(areListenersSetUp(dataDir) && !keeps ? ["of listeners"] : []),
    ...(areToolsSetUp(dataDir) ? ["of tools"] : []),
  ];
  if (found.length > 0)
    return [
      warning(`A node that was killed left rules ${found.join(" and ")}`, "Start it again, or: clearline inline undo"),
    ];
  const changed = keeps && holdsCapability("CAP_NET_ADMIN") ? await listenersLeft(dataDir) : [];
  if (changed.length > 0)
    return changed.map((one) =>
      warning(`Of what the node left, ${one}`, "Start the node again: it sets up what is missing"),
    );
  return [ok(keeps ? "Rules stay while the node is stopped (stop: keep)" : "No rules are left of an earlier run")];
}
