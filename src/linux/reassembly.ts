import { readFileSync } from "node:fs";

/**
 * Packets that never became whole from their fragments, of IPv4 and IPv6, since this network namespace began: a fragment did not come in
 * time, or did not fit. Undefined: this kernel does not say.
 */
export function readUnjoined(): number | undefined {
  const [v4, v6] = [read("snmp"), read("snmp6")];
  const both = [v4 && ipv4Of(v4), v6 && ipv6Of(v6)].filter((one) => typeof one === "number");
  return both.length === 0 ? undefined : both.reduce((sum, one) => sum + one, 0);
}

function read(name: string): string | undefined {
  try {
    return readFileSync(`/proc/self/net/${name}`, "latin1");
  } catch {
    return undefined;
  }
}

/** A line with the names of the counters, and one with their values. */
function ipv4Of(text: string): number | undefined {
  const [names, values] = text
    .split("\n")
    .filter((line) => line.startsWith("Ip: "))
    .map((line) => line.split(" "));
  const value = values?.[names?.indexOf("ReasmFails") ?? -1];
  return value === undefined ? undefined : Number(value);
}

function ipv6Of(text: string): number | undefined {
  const value = /^Ip6ReasmFails\s+(\d+)$/m.exec(text)?.[1];
  return value === undefined ? undefined : Number(value);
}
