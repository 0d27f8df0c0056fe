import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { z } from "zod";
import { address, subnetAddress } from "./formats.ts";
import { type Problem, show } from "./problem.ts";

/** The node's place in the network of a bridge: of its frames without a tag, and of each of its VLANs. */
export const bridgeNetwork = {
  address: oneOrMore(subnetAddress())
    .optional()
    .describe(
      "Bridge: the node's own address on it, such as 10.3.0.254/24. A list for IPv4 and IPv6. Absent in a listener with vlans: frames without a tag cross unchanged.",
    ),
  gateway: oneOrMore(address())
    .optional()
    .describe(
      "Bridge: the router for every destination without a route. A list for IPv4 and IPv6. Absent: such destinations are unreachable.",
    ),
  routes: z
    .array(
      z.strictObject({
        to: subnetAddress().describe("Another network with clients or servers, such as 10.9.0.0/16."),
        via: address().describe("The router on the bridge's network that leads there."),
      }),
    )
    .default([])
    .describe(
      "Bridge: routes to networks behind routers other than the gateway. This machine's own routes are not used.",
    ),
};

const vlan = z.strictObject({
  id: vlanId().describe("The VLAN's id: 1 to 4094."),
  outer: vlanId().optional().describe("QinQ: the id of the tag around it. Absent: frames have one tag."),
  outerType: z
    .enum(["802.1ad", "802.1Q"])
    .default("802.1ad")
    .describe("QinQ: the type of the tag around it: 0x88a8 (802.1ad) or 0x8100 (802.1Q)."),
  ...bridgeNetwork,
});

/** The VLANs of a bridge that the node takes part in. */
export function vlans() {
  return z
    .array(vlan)
    .default([])
    .describe(
      "Bridge: the VLANs whose connections the node takes, each with its own address, gateway and routes. Frames of other VLANs cross the bridge unchanged, and are counted. Needs Linux 6.6 and CAP_BPF.",
    );
}

type Vlan = z.output<typeof vlan>;

interface Place {
  readonly address?: string | string[] | undefined;
  readonly gateway?: string | string[] | undefined;
  readonly routes: readonly { readonly to: string; readonly via: string }[];
}

/** The node sends through a bridge from its address there, to routers in the same subnet. */
export function networkConflicts({ address: own, gateway, routes }: Place): Problem[] {
  if (own === undefined) return [{ path: "address", says: "is missing: a bridge needs an address on its network" }];
  const subnets = [own].flat().map((text) => ipaddr.parseCIDR(text));
  const isReached = (router: ipaddr.IPv4 | ipaddr.IPv6) =>
    subnets.some((subnet) => subnet[0].kind() === router.kind() && router.match(subnet));
  const gateways = [gateway ?? []].flat().map((value, index) => ({
    path: Array.isArray(gateway) ? `gateway[${index}]` : "gateway",
    value,
  }));
  const routers = routes.map(({ via }, index) => ({ path: `routes[${index}].via`, value: via }));
  const stray = [...gateways, ...routers].filter(({ value }) => !isReached(ipaddr.parse(value)));
  const second = gateways.filter(({ value }, index) =>
    gateways.slice(0, index).some((earlier) => isIP(earlier.value) === isIP(value)),
  );
  return [
    ...stray.map(({ path, value }) => ({
      path,
      says: `is ${show(value)}, which is in no subnet of the bridge`,
    })),
    ...second.map(({ path, value }) => ({
      path,
      says: `is ${show(value)}, the second IPv${isIP(value)} gateway; a bridge has at most one`,
    })),
    ...routes.flatMap(({ to, via }, index) => {
      const [network, router] = [isIP(to.split("/")[0]!), isIP(via)];
      const says = `is ${show(via)}, an IPv${router} address, but the route is for IPv${network}`;
      return network === router ? [] : [{ path: `routes[${index}].via`, says }];
    }),
  ];
}

/** Conflicts in each VLAN, and between them. */
export function vlanConflicts(configured: readonly Vlan[]): Problem[] {
  const first = new Map<string, number>();
  return configured.flatMap((one, index) => {
    const name = `${one.outer === undefined ? "" : `${one.outerType} ${one.outer}, `}${one.id}`;
    const earlier = first.get(name);
    if (earlier === undefined) first.set(name, index);
    const twice = { path: `vlans[${index}].id`, says: `is ${name}, which vlans[${earlier}] has already` };
    return [
      ...(earlier === undefined ? [] : [twice]),
      ...networkConflicts(one).map(({ path, says }) => ({ path: `vlans[${index}].${path}`, says })),
    ];
  });
}

function vlanId() {
  return z.int().min(1).max(4094);
}

function oneOrMore<Schema extends z.ZodType<string>>(schema: Schema) {
  return z.union([schema, z.array(schema).min(1)]);
}
