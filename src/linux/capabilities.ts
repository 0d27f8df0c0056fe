import { readFileSync } from "node:fs";
import { ConfigError } from "../errors.ts";

/** Their numbers: capabilities(7). */
const CAPABILITIES = {
  CAP_CHOWN: 0n,
  CAP_KILL: 5n,
  CAP_SETGID: 6n,
  CAP_SETUID: 7n,
  CAP_NET_BIND_SERVICE: 10n,
  CAP_NET_ADMIN: 12n,
  CAP_NET_RAW: 13n,
  CAP_SYS_ADMIN: 21n,
  CAP_BPF: 39n,
} as const;
export type Capability = keyof typeof CAPABILITIES;

/** Throws ConfigError when this process may not change the network. The message says what to do. */
export function requireNetAdmin(): void {
  requireCapability("CAP_NET_ADMIN", "listeners", "an inline listener");
}

/** Throws ConfigError, with this path of the configuration, when this process may not load programs for frames. */
export function requireBpf(path: string): void {
  if (holdsCapability("CAP_BPF") || holdsCapability("CAP_SYS_ADMIN")) return;
  const remedy = "start Clearline as root, or with a unit that grants it (docs/guide/inline.md)";
  throw new ConfigError(path, `Cannot set up VLANs (${path}): they need the capability CAP_BPF; ${remedy}`);
}

/** Throws ConfigError, with this path of the configuration, when this process lacks the capability. `purpose`: what it is needed for. */
export function requireCapability(name: "CAP_NET_ADMIN" | "CAP_SYS_ADMIN", path: string, purpose: string): void {
  if (holdsCapability(name)) return;
  const unit =
    name === "CAP_NET_ADMIN" ? "the systemd unit that grants it" : "a unit that grants it (docs/guide/tools.md)";
  const remedy = `start Clearline as root, or with ${unit}`;
  throw new ConfigError(path, `Cannot set up ${purpose}: it needs the capability ${name}; ${remedy}`);
}

/** Whether this process has the capability now. True where the kernel does not say. */
export function holdsCapability(name: Capability): boolean {
  const [, effective] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return effective === undefined || ((BigInt(`0x${effective}`) >> CAPABILITIES[name]) & 1n) === 1n;
}

/** The capabilities as the kernel's mask. */
export function maskOf(names: readonly Capability[]): bigint {
  return names.reduce((mask, name) => mask | (1n << CAPABILITIES[name]), 0n);
}
