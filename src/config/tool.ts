import { z } from "zod";
import { readAddress } from "../policy/address-set.ts";
import { FLOW_CLASSES } from "../vocabulary.ts";
import {
  address,
  duration,
  hostPort,
  interfaceName,
  isLoopbackHost,
  label,
  portMap,
  subnetAddress,
  textOf,
} from "./formats.ts";
import type { Problem } from "./problem.ts";
import { anyOf, type Row, row } from "./row.ts";

/** `tools` in the configuration file: the inline tools that sessions go through. */

const common = {
  name: label().describe("The tool's name in rules, sessions and metrics."),
  flows: z
    .array(z.enum(FLOW_CLASSES))
    .min(1)
    .default([...FLOW_CLASSES])
    .describe("The sessions that go through it: decrypted; bypassed, as TLS bytes; notTls, which is TCP without TLS."),
  onFailure: z
    .enum(["bypass", "drop"])
    .default("drop")
    .describe("After it has failed, sessions go on without it (bypass) or are reset (drop)."),
  ports: portMap()
    .prefault({})
    .describe("The server ports that the tool sees in decrypted sessions: { 443: 80, default: 8080 }."),
  alpn: z.enum(["http/1.1"]).optional().describe("Do not negotiate HTTP/2 in sessions that go through it."),
};

const heartbeat = {
  enabled: z.boolean().default(true).describe("Send probes through the tool to find out whether it works."),
  period: duration({ min: "100ms", max: "1h" }).prefault("1s").describe("The time between two probes."),
  timeout: duration({ min: "50ms", max: "1m" })
    .prefault("1s")
    .describe("A probe that needs longer to come through counts as a failure."),
  retries: z.int().min(1).max(100).default(3).describe("The tool has failed after this many failures in a row."),
  recovery: duration({ min: "0s", max: "1h" })
    .prefault("5s")
    .describe("A failed tool is used again after its probes have come through for this long."),
};

const OWN_A = ["169.254.77.1/29", "fe80::77:1/64"];
const OWN_B = ["169.254.77.2/29", "fe80::77:2/64"];
const ownAddresses = z.union([subnetAddress(), z.array(subnetAddress()).min(1)]).optional();

/** One address or a list, read as a list. */
function gateways() {
  return z
    .union([address(), z.array(address()).max(2)])
    .transform((value) => [value].flat())
    .prefault([]);
}

const inline = z
  .strictObject({
    ...common,
    kind: z.literal("inline").describe("A tool between two network interfaces."),
    heartbeat: z.strictObject(heartbeat).prefault({}),
    interfaceA: interfaceName().describe("The interface that leads to the tool's client side: Ta."),
    interfaceB: interfaceName().describe("The interface that leads to the tool's server side: Tb."),
    namespace: label()
      .optional()
      .describe("The network namespace that the node makes for the two interfaces. Default clearline-NAME."),
    layer: z
      .union([z.literal(2), z.literal(3)], { error: "neither 2 nor 3" })
      .default(2)
      .describe("2: the tool is a bump in the wire. 3: it is a router with addresses of its own."),
    addressA: ownAddresses.meta({
      description: "The node's own addresses on interfaceA. The tool sends its own replies there. Required at layer 3.",
      default: OWN_A,
    }),
    addressB: ownAddresses.meta({
      description: "The node's own addresses on interfaceB. Required at layer 3.",
      default: OWN_B,
    }),
    gatewayA: gateways().describe("Layer 3: the tool's own addresses on its client side, one for each address family."),
    gatewayB: gateways().describe("Layer 3: the tool's own addresses on its server side."),
  })
  .transform((tool) => {
    const [ownA, ownB] = tool.layer === 2 ? [OWN_A, OWN_B] : [[], []];
    return { ...tool, addressA: [tool.addressA ?? ownA].flat(), addressB: [tool.addressB ?? ownB].flat() };
  });

const proxy = z.strictObject({
  ...common,
  kind: z.literal("proxy").describe("A tool that is a TCP service."),
  heartbeat: z
    .strictObject({
      ...heartbeat,
      probe: z
        .enum(["session", "connect"])
        .default("session")
        .describe(
          "session: an HTTP request of the node's own, which the tool has to pass on or to answer. connect: only whether the tool accepts a connection.",
        ),
    })
    .prefault({}),
  address: hostPort().describe("Where the tool listens: Ta."),
  returnAddress: hostPort().describe(
    "Where the node listens for the tool's connection back: Tb. With header sslproxy each session has a port of its own at this host.",
  ),
  from: z
    .array(z.string().refine((text) => readAddress(text) !== undefined, { error: "not an address such as 10.0.9.5" }))
    .min(1)
    .optional()
    .describe("The addresses that the tool connects back from. Absent: those of address."),
  header: z
    .enum(["proxy-v2", "sslproxy"])
    .default("proxy-v2")
    .describe("How the tool learns about the session: PROXY protocol version 2, or SSLproxy's header line."),
  matching: z
    .enum(["unique-id", "addresses"])
    .default("unique-id")
    .describe(
      "How the node finds the session of the tool's connection back: by the unguessable UNIQUE_ID that the tool passes on, or, for a tool that cannot, by addresses and ports too, which others can know.",
    ),
});

export const TOOLS = {
  inline: row(inline, {
    place: ({ interfaceA, interfaceB }) => `${interfaceA} to ${interfaceB}`,
    interfaces: ({ interfaceA, interfaceB }) => [
      { key: "interfaceA", name: interfaceA, inPath: true },
      { key: "interfaceB", name: interfaceB, inPath: true },
    ],
    conflicts: layerConflicts,
  }),
  proxy: row(proxy, {
    place: (tool) => `${textOf(tool.address)}, back to ${textOf(tool.returnAddress)}`,
    listensAt: ({ returnAddress, header }) => [
      { key: "returnAddress", address: returnAddress, required: header !== "sslproxy" },
    ],
    connectsTo: (tool) => [{ key: "address", address: tool.address }],
    conflicts: ({ header, matching }) =>
      header === "sslproxy" && matching === "addresses"
        ? [{ path: "matching", says: "is for header proxy-v2 only: with sslproxy each session has a port of its own" }]
        : [],
    warnings: guessableReturn,
  }),
};

export const TOOL = anyOf("kind", TOOLS);
export type ToolConfig = z.output<typeof TOOL>;

export function toolRow({ kind }: ToolConfig): Row<ToolConfig> {
  return TOOLS[kind];
}

/** Where a tool is, on one line for the user: "tool-a to tool-b", "10.0.9.5:3128, back to 0.0.0.0:3129". */
export function toolPlace(tool: ToolConfig): string {
  return toolRow(tool).place(tool);
}

/** Others may connect to the return address in the tool's place. */
function guessableReturn({ header, matching, address: { host } }: z.output<typeof proxy>): Problem[] {
  const who = isLoopbackHost(host) ? "any user of this machine" : "whoever can send from the tool's address";
  if (header === "sslproxy") {
    const says = `is sslproxy, which has no secret: ${who} can take a session by connecting to its port before the tool does`;
    return [{ path: "header", says }];
  }
  if (matching === "unique-id") return [];
  const says = `is addresses, which are no secret: ${who} can take a session by connecting back before the tool does. Use unique-id if the tool can pass the UNIQUE_ID on`;
  return [{ path: "matching", says }];
}

function layerConflicts({ layer, ...tool }: z.output<typeof inline>): Problem[] {
  if (layer === 2) {
    return (["gatewayA", "gatewayB"] as const)
      .filter((key) => tool[key].length > 0)
      .map((key) => ({ path: key, says: "is for layer 3 only: at layer 2 the tool has no address" }));
  }
  return (["addressA", "addressB", "gatewayA", "gatewayB"] as const)
    .filter((key) => tool[key].length === 0)
    .map((key) => ({ path: key, says: "is missing: layer 3 needs the node's and the tool's addresses on both sides" }));
}
