import type { FlowClass } from "../vocabulary.ts";

/** In-port to out-port, and "default" for the ports that are not in it. */
export type PortMap = Readonly<Record<string, number>>;

/** The server's port as a tool sees it: decrypted sessions only, for a tool would take HTTP on port 443 for broken TLS. */
export function toolPort(
  map: PortMap,
  { flow, server: { port } }: { readonly flow: FlowClass; readonly server: { readonly port: number } },
): number {
  return flow === "decrypted" ? (map[port] ?? map["default"] ?? port) : port;
}
