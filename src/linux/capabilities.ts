import { readFileSync } from "node:fs";
import { ConfigError } from "../errors.ts";

const NET_ADMIN = 12n;

/** Throws ConfigError when this process may not change the network: one line that says what to do. */
export function requireNetAdmin(): void {
  const [, effective] = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  if (effective !== undefined && ((BigInt(`0x${effective}`) >> NET_ADMIN) & 1n) === 1n) return;
  const remedy = "start Clearline as root, or with the systemd unit that grants it";
  throw new ConfigError(
    "listeners",
    `Cannot set up an inline listener: it needs the capability CAP_NET_ADMIN; ${remedy}`,
  );
}
