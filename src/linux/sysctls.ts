import { globSync, readFileSync, writeFileSync } from "node:fs";
import { ConfigError } from "../errors.ts";

const ROOT = "/proc/sys";

/** Reads a setting of the current network namespace: "net/ipv4/conf/eth0.7/forwarding". Undefined: this kernel has no such setting. */
export function readSysctl(key: string): string | undefined {
  try {
    return readFileSync(`${ROOT}/${key}`, "utf8").trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw new ConfigError("listeners", `Cannot read the kernel setting ${key}: ${code}`, { cause: error });
  }
}

/** Writes a setting. Throws ConfigError, which names the missing capability. */
export function writeSysctl(key: string, value: string): void {
  try {
    writeFileSync(`${ROOT}/${key}`, value, { flag: "r+" });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "EACCES" || code === "EPERM" ? `${code}: it needs CAP_NET_ADMIN` : code;
    throw new ConfigError("listeners", `Cannot set the kernel setting ${key} to ${value}: ${why}`, { cause: error });
  }
}

/** The settings that match a pattern with `*`, with their values. */
export function readSysctls(pattern: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const path of globSync(`${ROOT}/${pattern}`)) {
    const key = path.slice(ROOT.length + 1);
    const value = readSysctl(key);
    if (value !== undefined) found.set(key, value);
  }
  return found;
}
