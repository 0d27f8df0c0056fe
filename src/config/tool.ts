import { z } from "zod";
import { readAddress } from "../policy/address-set.ts";
import { FLOW_CLASSES } from "../vocabulary.ts";
import { address, duration, hostPort, interfaceName, label, portMap, subnetAddress, textOf } from "./formats.ts";

/** The inline tools of the configuration file: what the plaintext goes through, and what there is to say of a place. */

const common = {
  name: label().describe("Names the tool in rules, sessions and metrics."),
  flows: z
    .array(z.enum(FLOW_CLASSES))
    .min(1)
    .default([...FLOW_CLASSES])
    .describe("What goes through it: decrypted, bypassed (the TLS bytes as they are), notTls."),
  onFailure: z
    .enum(["bypass", "drop"])
    .default("drop")
    .describe("When it has failed, sessions go on without it (bypass) or are reset."),
  ports: portMap()
    .prefault({})
    .describe("Server ports as the tool sees them, of decrypted sessions: { 443: 80, default: 8080 }."),
  alpn: z.enum(["http/1.1"]).optional().describe("Keeps HTTP/2 out of the sessions that go through it."),
  heartbeat: z
    .strictObject({
      enabled: z.boolean().default(true).describe("Whether a probe of the node's own goes through the tool."),
      period: duration({ min: "100ms", max: "1h" }).prefault("1s").describe("Between two probes."),
      timeout: duration({ min: "50ms", max: "1m" }).prefault("1s").describe("In which one must have come through."),
      retries: z.int().min(1).max(100).default(3).describe("Failures in a row until the tool has failed."),
      recovery: duration({ min: "0s", max: "1h" })
        .prefault("5s")
        .describe("For how long probes must come through until it is used again."),
    })
    .prefault({}),
};

/** One or a list of them, always used as a list. */
function ownAddresses(standard: readonly string[]) {
  return z
    .union([subnetAddress(), z.array(subnetAddress()).min(1)])
    .transform((value) => [value].flat())
    .prefault([...standard]);
}

function gateways() {
  return z
    .union([address(), z.array(address()).max(2)])
    .transform((value) => [value].flat())
    .prefault([]);
}

export const TOOL = z.discriminatedUnion("kind", [
  z.strictObject({
    ...common,
    kind: z.literal("inline").describe("A tool between two interfaces."),
    interfaceA: interfaceName().describe("The interface toward the tool's client side: Ta."),
    interfaceB: interfaceName().describe("The interface toward the tool's server side: Tb."),
    namespace: label()
      .optional()
      .describe("The network namespace that the node makes for the two interfaces. Default clearline-NAME."),
    layer: z
      .union([z.literal(2), z.literal(3)], { error: "neither 2 nor 3" })
      .default(2)
      .describe("2: a bump in the wire. 3: a router, with addresses of its own."),
    addressA: ownAddresses(["169.254.77.1/29", "fe80::77:1/64"]).describe(
      "The node's own addresses toward the tool's client side. A tool that answers by itself sends it there.",
    ),
    addressB: ownAddresses(["169.254.77.2/29", "fe80::77:2/64"]).describe("The same toward its server side."),
    gatewayA: gateways().describe("Layer 3: the tool's own addresses on its client side, one for each family."),
    gatewayB: gateways().describe("The same on its server side."),
  }),
  z.strictObject({
    ...common,
    kind: z.literal("proxy").describe("A tool that is a TCP service."),
    address: hostPort().describe("Where the tool listens: Ta."),
    returnAddress: hostPort().describe(
      "Where it connects back to: Tb. With sslproxy each session has a port of its own there.",
    ),
    from: z
      .array(z.string().refine((text) => readAddress(text) !== undefined, { error: "not an address such as 10.0.9.5" }))
      .min(1)
      .optional()
      .describe("The addresses that it connects back from; those of address when absent."),
    header: z
      .enum(["proxy-v2", "sslproxy"])
      .default("proxy-v2")
      .describe("How it is told of the session: PROXY protocol version 2, or SSLproxy's line."),
  }),
]);

/** Where a tool stands, on one line for people: "tool-a to tool-b", "10.0.9.5:3128, back to 0.0.0.0:3129". */
export function toolPlace(tool: z.output<typeof TOOL>): string {
  switch (tool.kind) {
    case "inline":
      return `${tool.interfaceA} to ${tool.interfaceB}`;
    case "proxy":
      return `${textOf(tool.address)}, back to ${textOf(tool.returnAddress)}`;
  }
}
