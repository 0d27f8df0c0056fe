import assert from "node:assert/strict";
import { DOMAIN } from "../../test/pki.ts";
import type { Claim, Stage } from "../claim.ts";
import { dial } from "../ends.ts";
import { type End, FAMILIES, type Family, type Network } from "../network.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";

/** Hosts behind the client and behind the server of the bridge, which are routers here. */
const BEYOND = {
  client: { 4: "10.9.0.2", 6: "fd00:9::2" },
  server: { 4: "10.8.0.3", 6: "fd00:8::3" },
  nobody: { 4: "10.8.0.99", 6: "fd00:8::99" },
} as const;
const NETWORKS = { client: ["10.9.0.0/24", "fd00:9::/64"], server: ["10.8.0.0/24", "fd00:8::/64"] } as const;
const ROUTERS = { client: ["10.3.0.2", "fd00:3::2"], server: ["10.3.0.3", "fd00:3::3"] } as const;
/** The interface of the node's own default routes. */
const MANAGEMENT = "clt-mgmt";

export const ROUTES = {
  gateway: ROUTERS.server,
  routes: NETWORKS.client.map((to, index) => ({ to, via: ROUTERS.client[index] })),
} as const;

export async function addRouters({ client, server, node }: Network): Promise<void> {
  for (const [index, family] of FAMILIES.entries()) {
    const ip = (host: Network["client"] | Network["node"], ...words: string[]) =>
      host.must("ip", [`-${family}`, ...words]);
    const length = family === 4 ? 32 : 128;
    await ip(client, "address", "add", `${BEYOND.client[family]}/${length}`, "dev", "lo");
    await ip(server, "address", "add", `${BEYOND.server[family]}/${length}`, "dev", "lo");
    await ip(client, "route", "add", NETWORKS.server[index]!, "via", ROUTERS.server[index]!);
    await ip(server, "route", "add", NETWORKS.client[index]!, "via", ROUTERS.client[index]!);
    await ip(server, "route", "add", "unreachable", NETWORKS.server[index]!);
  }
  await server.must("sysctl", ["-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
  await node.must("ip", ["link", "add", MANAGEMENT, "type", "veth", "peer", "name", "clt-elsewhere"]);
  for (const link of [MANAGEMENT, "clt-elsewhere"]) await node.must("ip", ["link", "set", link, "up"]);
  for (const [family, address, gateway] of [
    ["-4", "198.51.100.2/24", "198.51.100.1"],
    ["-6", "2001:db8:77::2/64", "2001:db8:77::1"],
  ] as const) {
    await node.must("ip", [family, "address", "add", address, "dev", MANAGEMENT]);
    await node.must("ip", [family, "route", "add", "default", "via", gateway]);
    await node.must("ip", [family, "neigh", "add", gateway, "lladdr", "02:00:00:00:00:77", "dev", MANAGEMENT]);
  }
}

export const BEYOND_ROUTERS: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [decrypts(family), refuses(family), tells(family)]),
  forwards(),
];

function decrypts(family: Family): Claim {
  return {
    says: `IPv${family}: over a bridge, a client and a server behind routers reach each other by the listener's routes, not by the node's own`,
    only: "bridge",
    async check(stage) {
      await using management = await watch(stage.network.node, MANAGEMENT, "tcp or icmp");
      const page = await fetchBeyond(stage, family, stage.node.authorities);
      assert.match(page, new RegExp(` ${BEYOND.client[family]}$`));
      assert.equal(management.frames().length, 0);
      return `${page}; 0 packets by the node's default route`;
    },
  };
}

function refuses(family: Family): Claim {
  return {
    says: `IPv${family}: a closed port of a server behind a router is refused to a client behind a router`,
    only: "bridge",
    async check({ network: { client } }) {
      const dialed = dial(beyond(client), { address: BEYOND.server[family], port: PORTS.closed });
      await assert.rejects(dialed, { code: "ECONNREFUSED" });
      return "ECONNREFUSED";
    },
  };
}

function tells(family: Family): Claim {
  return {
    says: `IPv${family}: the client gets a router's error about a host behind it, and never from the node's address`,
    only: "bridge",
    async check({ network: { client, node } }) {
      await using wire = await watch(client, client.interface, "icmp[0] == 3 or (icmp6 and ip6[40] == 1)");
      const dialed = dial(beyond(client), { address: BEYOND.nobody[family], port: PORTS.https });
      // RFC 4443, section 3.1: an IPv6 router without a route reports the network; an IPv4 router reports the host.
      const code = family === 4 ? "EHOSTUNREACH" : "ENETUNREACH";
      await assert.rejects(dialed, { code });
      const sources = await wire.shows("an ICMP error", (frames) =>
        frames.length > 0 ? frames.map(({ ip }) => ip?.source) : undefined,
      );
      assert.ok(!node.addresses.some((own) => sources.includes(own.split("/")[0])), `it came from ${sources}`);
      return `${code}, from ${[...new Set(sources)]}`;
    },
  };
}

/** The last of these: it kills the node. */
function forwards(): Claim {
  return {
    says: "failure: open. Without the node, the kernel forwards between the routers on the bridge",
    only: "bridge",
    async check(stage) {
      stage.node.kill(stage.node.pids());
      await stage.node.process.ended;
      const pages = [];
      for (const family of FAMILIES) pages.push(await fetchBeyond(stage, family, stage.pki.root.certificate));
      return `the server's own certificate: ${pages.join(", ")}`;
    },
  };
}

function beyond(client: End): End {
  return { ...client, address: BEYOND.client };
}

async function fetchBeyond({ network: { client } }: Stage, family: Family, authorities: string): Promise<string> {
  const name = `www.${DOMAIN}`;
  const target = BEYOND.server[family];
  const to = ["--resolve", `${name}:${PORTS.https}:${family === 6 ? `[${target}]` : target}`, `https://${name}/`];
  const from = ["--interface", BEYOND.client[family]];
  return (await client.must("curl", ["-sS", "--fail", "-m", "20", "--cacert", authorities, ...from, ...to])).trim();
}
