import type { Host } from "./network.ts";

/** Every part of a host's network setup that a node changes or could change: its name, and a text to compare. */
export async function describeSetup(host: Host): Promise<Readonly<Record<string, string>>> {
  const commands: Readonly<Record<string, readonly string[]>> = {
    rules: ["nft", "-s", "list", "ruleset"],
    links: ["ip", "-o", "link"],
    addresses: ["ip", "-o", "addr"],
    "routing rules": ["ip", "rule"],
    "routing rules of IPv6": ["ip", "-6", "rule"],
    routes: ["ip", "route", "show", "table", "all"],
    "routes of IPv6": ["ip", "-6", "route", "show", "table", "all"],
  };
  const parts = Object.entries(commands).map(async ([name, [program = "", ...args]]) => {
    const text = await host.must(program, args);
    return [name, text.split("\n").sort().join("\n")] as const;
  });
  // sysctl reports keys without a value on stderr, and ends with a code other than 0.
  const { stdout } = await host.run("sysctl", ["-a", "-r", "^net\\.(ipv4|ipv6|bridge)\\."]);
  return { ...Object.fromEntries(await Promise.all(parts)), settings: stdout };
}

/** Adds an administrator's rules, which are there before the node. They drop packets that connection tracking finds invalid. */
export async function addForeignRules(host: Host): Promise<void> {
  const input = `table inet administrator {
    chain input {
      type filter hook input priority 0; policy accept;
      tcp dport 65000 drop comment "not the node's"
      meta l4proto { tcp, icmp, ipv6-icmp } ct state invalid drop
    }
    chain forward {
      type filter hook forward priority 0; policy accept;
      meta l4proto { tcp, icmp, ipv6-icmp } ct state invalid drop
    }
    chain output {
      type filter hook output priority 0; policy accept;
      meta l4proto { tcp, icmp, ipv6-icmp } ct state invalid drop
    }
  }
  `;
  await host.must("nft", ["-f", "-"], { input });
  for (const family of ["-4", "-6"]) await host.must("ip", [family, "rule", "add", "fwmark", "0x7", "lookup", "4242"]);
  await host.must("ip", ["route", "add", "unreachable", "192.0.2.0/24", "table", "4242"]);
}

/** Whether the administrator's rules are still there. */
export async function hasForeignRules(host: Host): Promise<boolean> {
  const rules = await host.must("nft", ["list", "ruleset"]);
  const [v4, v6] = [await host.must("ip", ["rule"]), await host.must("ip", ["-6", "rule"])];
  return rules.includes("table inet administrator") && [v4, v6].every((each) => each.includes("lookup 4242"));
}
