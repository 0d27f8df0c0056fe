import type { FlowClass } from "./vocabulary.ts";

/** The port that analysers see, for each server port; "default" is for all other server ports. */
export type PortMap = Readonly<Record<string, number>>;

/** The server's port as a tool or feed shows it. It is mapped in decrypted sessions only: an analyser would take HTTP on port 443 for broken TLS. */
export function mappedPort(
  map: PortMap,
  { flow, server: { port } }: { readonly flow: FlowClass; readonly server: { readonly port: number } },
): number {
  return flow === "decrypted" ? (map[port] ?? map["default"] ?? port) : port;
}
