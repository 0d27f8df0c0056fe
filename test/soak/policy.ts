import { DOMAIN } from "../pki.ts";
import type { SoakNetwork } from "./network.ts";

/** The host names of a soak, and the rules that choose what becomes of their sessions. */

export type Host = string;

const host = (name: string): Host => `${name}.${DOMAIN}`;

export const DROPPED = host("dropped");
export const BYPASSED = host("bypass");
/** The node has its key. */
export const INBOUND = host("inbound");

/** Of the hosts that pass tools, where there are some. All others go through both. */
const TOOLS: Readonly<Record<string, readonly string[]>> = {
  plainly: [],
  wire: ["wire"],
  haproxy: ["haproxy"],
  both: ["haproxy", "wire"],
};

export function hostsOf(network: SoakNetwork | undefined): readonly Host[] {
  return [...(network ? Object.keys(TOOLS).map(host) : [host("soak")]), DROPPED, BYPASSED, INBOUND];
}

/** Reloads go from one to the next. */
export function policiesOf(network: SoakNetwork | undefined, watched: readonly number[]): readonly object[] {
  const common = { versions: { min: "SSLv3" }, startTls: { enabled: true, ports: watched } };
  const unmatched = { name: "unmatched", match: { host: ["*.never.example"] }, action: "drop" };
  const through = Object.entries(TOOLS).map(([name, tools]) => {
    return { name, match: { host: [host(name)] }, action: "decrypt", tools };
  });
  const rules = [
    { name: "dropped", match: { host: [DROPPED] }, action: "drop" },
    { name: "bypass", match: { host: [BYPASSED] }, action: "bypass", ...(network && { tools: ["wire"] }) },
    ...(network ? through : []),
  ];
  return [
    { ...common, rules },
    { ...common, rules: [unmatched, ...rules] },
  ];
}
