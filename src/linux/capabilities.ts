import { readFileSync } from "node:fs";
import { ConfigError } from "../errors.ts";

/** Their numbers: capabilities(7). */
const CAPABILITIES = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n } as const;

/** Throws ConfigError when this process may not change the network. The message says what to do. */
export function requireNetAdmin(): void {
  requireCapability("CAP_NET_ADMIN", "listeners", "an inline listener");
}

/** Throws ConfigError, with this path of the configuration, when this process lacks the capability. `purpose`: what it is needed for. */
export function requireCapability(name: keyof typeof CAPABILITIES, path: string, purpose: string): void {
  const [, effective] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  if (effective !== undefined && ((BigInt(`0x${effective}`) >> CAPABILITIES[name]) & 1n) === 1n) return;
  const unit =
    name === "CAP_NET_ADMIN" ? "the systemd unit that grants it" : "a unit that grants it (docs/guide/tools.md)";
  const remedy = `start Clearline as root, or with ${unit}`;
  throw new ConfigError(path, `Cannot set up ${purpose}: it needs the capability ${name}; ${remedy}`);
}
