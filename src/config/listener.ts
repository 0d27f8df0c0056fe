import { z } from "zod";
import { bridgeNetwork, networkConflicts, vlanConflicts, vlans } from "./bridge-network.ts";
import { ONE_OR_MORE, readValues } from "./condition.ts";
import { hostPort, interfaceName, isLoopbackHost, label, textOf } from "./formats.ts";
import { type Problem, show } from "./problem.ts";
import { proxyProtocol, proxyProtocolToServer } from "./proxy-protocol.ts";
import { reach } from "./reach.ts";
import { anyOf, type Located, type Row, row } from "./row.ts";

/** `listeners` in the configuration file: where sessions come from. */

const common = {
  name: label().describe("The listener's name in sessions, metrics and rules."),
  onMissingKey: z
    .enum(["bypass", "drop"])
    .optional()
    .describe(
      "Inbound: what to do with a session when the node does not hold the server's key. Absent: re-sign the certificate.",
    ),
};

const explicit = z.strictObject({
  ...common,
  mode: z.literal("explicit").describe("An HTTP proxy: CONNECT, and plain HTTP in absolute form."),
  address: hostPort().describe("Where it listens."),
  reach: reach(),
  proxyProtocol: proxyProtocol(),
});

const forward = z.strictObject({
  ...common,
  mode: z.literal("forward").describe("A port whose connections all go to one server."),
  address: hostPort().describe("Where it listens."),
  server: hostPort().describe("The server that its connections go to."),
  proxyProtocol: proxyProtocolToServer(),
});

const inline = z.strictObject({
  ...common,
  mode: z.literal("inline").describe("In the path between two network interfaces. Needs CAP_NET_ADMIN."),
  topology: z
    .enum(["routed", "bridge"])
    .describe("routed: this machine is a router between two networks. bridge: it is a bump in one wire."),
  networkA: interfaceName().describe("The interface that faces the clients."),
  networkB: interfaceName().describe("The interface that faces the servers."),
  ...bridgeNetwork,
  vlans: vlans(),
  direction: z
    .enum(["aToB", "both"])
    .optional()
    .describe(
      "Whose connections the node takes: those that networkA's side opens (aToB), or those of both sides. Absent: both on a bridge, aToB on a router.",
    ),
  midStream: z
    .enum(["pass", "reset"])
    .default("pass")
    .describe(
      "Connections that began before the node stood in the path, which it cannot decrypt: let them pass, or reset them.",
    ),
  bgp: z
    .enum(["pass", "intercept"])
    .default("pass")
    .describe(
      "Connections to port 179 and those whose TCP is signed (TCP-MD5, TCP-AO), which the node cannot carry: let the kernel forward them, or take them like any other.",
    ),
  ports: z
    .unknown()
    .transform((input, context) => (input === "all" ? "all" : readValues("port", input, context)))
    .prefault("all")
    .meta({
      description:
        "The server ports that the node takes: all, or numbers and ranges. The kernel forwards all other traffic.",
      anyOf: ONE_OR_MORE,
    }),
  synHold: z
    .boolean()
    .default(true)
    .describe("Answer the client's SYN only after the connection to the server is established."),
  unreachable: z
    .enum(["reset", "silent"])
    .default("reset")
    .describe(
      "What a held client hears when the server has not answered within `timeouts.connect`: a RST (reset), or nothing (silent).",
    ),
  failure: z
    .enum(["open", "closed"])
    .default("open")
    .describe("What the kernel does while no worker listens: forward new connections (open) or drop them (closed)."),
  stop: z
    .enum(["remove", "keep"])
    .default("remove")
    .describe(
      "What an orderly stop does with the bridge, routes and rules: remove them, or keep them, so that `failure` decides about new connections. All inline listeners need the same value.",
    ),
  blockQuic: z
    .boolean()
    .default(false)
    .describe("Reject UDP port 443, so that browsers use TLS over TCP instead of QUIC."),
});

export const LISTENERS = {
  explicit: row(explicit, {
    place: (listener) => textOf(listener.address),
    listensAt: (listener) => [{ key: "address", address: listener.address, required: true }],
    warnings: (listener) => [...openProxy(listener), ...believesAll(listener)],
  }),
  forward: row(forward, {
    place: ({ address: own, server }) => `${textOf(own)} to ${textOf(server)}`,
    listensAt: (listener) => [{ key: "address", address: listener.address, required: true }],
    connectsTo: ({ server }) => [{ key: "server", address: server }],
    warnings: believesAll,
  }),
  inline: row(inline, {
    place: ({ networkA, networkB, topology }) => `${networkA} to ${networkB} (${topology})`,
    interfaces: ({ networkA, networkB }) => [
      { key: "networkA", name: networkA, inPath: true },
      { key: "networkB", name: networkB, inPath: true },
    ],
    conflicts: (listener) =>
      listener.topology === "routed"
        ? routedConflicts(listener)
        : [...(isTrunk(listener) ? [] : networkConflicts(listener)), ...vlanConflicts(listener.vlans)],
    conflictsAmong: differentStops,
  }),
};

export const LISTENER = anyOf("mode", LISTENERS);
export type ListenerConfig = z.output<typeof LISTENER>;

export function listenerRow({ mode }: ListenerConfig): Row<ListenerConfig> {
  return LISTENERS[mode];
}

/** Where a listener is, on one line for the user: "127.0.0.1:8080", "0.0.0.0:8443 to 10.0.0.5:443", "eth1 to eth2 (bridge)". */
export function listenerPlace(listener: ListenerConfig): string {
  return listenerRow(listener).place(listener);
}

/** Its address; of a listener without one, its place. */
export function listenerAddress(listener: ListenerConfig): string {
  const [listening] = listenerRow(listener).listensAt?.(listener) ?? [];
  return listening ? textOf(listening.address) : listenerPlace(listener);
}

/** A proxy that others reach connects wherever they ask it to. */
function openProxy({ address: own, reach: opened }: z.output<typeof explicit>): Problem[] {
  if (isLoopbackHost(own.host)) return [];
  const who = `whoever reaches ${textOf(own)}`;
  if (opened === undefined || opened.length === 0) {
    const says = `is not on loopback: ${who} can have the node connect into its networks. Loopback, link-local and this machine's own addresses are refused; rules can forbid more`;
    return [{ path: "address", says }];
  }
  const says = `opens ${opened.join(", ")}: ${who} can also connect to what listens there, as this machine itself can`;
  return [{ path: "reach", says }];
}

function believesAll({
  address: own,
  proxyProtocol: front,
}: z.output<typeof explicit> | z.output<typeof forward>): Problem[] {
  if (!front || front.from || isLoopbackHost(own.host)) return [];
  const says = `has no from: whoever reaches ${textOf(own)} can pass for any client. Name the load balancers`;
  return [{ path: "proxyProtocol", says }];
}

type Inline = z.output<typeof inline>;

/** A bridge with VLANs only: the node takes no part in the network of its untagged frames, and has no address there. */
function isTrunk({ address, gateway, routes, vlans: tagged }: Inline): boolean {
  return tagged.length > 0 && address === undefined && gateway === undefined && routes.length === 0;
}

function routedConflicts({ gateway, routes, vlans: tagged }: Inline): Problem[] {
  const says = "is for topology bridge only: with routed, this machine's own routes apply";
  return [
    ...(gateway === undefined ? [] : [{ path: "gateway", says }]),
    ...(routes.length === 0 ? [] : [{ path: "routes", says }]),
    ...(tagged.length === 0
      ? []
      : [{ path: "vlans", says: "is for topology bridge only: with routed, name the VLAN's own interface" }]),
  ];
}

/** All inline listeners are set up and taken down together. */
function differentStops([first, ...others]: readonly Located<Inline>[]): Problem[] {
  if (first === undefined) return [];
  const { stop } = first.value;
  return others
    .filter(({ value }) => value.stop !== stop)
    .map(({ path, value }) => ({
      path: `${path}.stop`,
      says: `is ${show(value.stop)}, but ${first.path}.stop is ${show(stop)}: all inline listeners need the same value`,
    }));
}
