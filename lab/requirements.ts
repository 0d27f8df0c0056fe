import { existsSync } from "node:fs";

/** Debian's own: the first one in PATH may be a script that first looks for which Python it starts. */
export const PYTHON = "/usr/bin/python3";

/** The Debian packages that the lab needs, each with a program by which it is found. */
const PACKAGES = [
  ["iproute2", "/usr/sbin/ip"],
  ["nftables", "/usr/sbin/nft"],
  ["iptables", "/usr/sbin/iptables-nft"],
  ["procps", "/usr/sbin/sysctl"],
  ["tcpdump", "/usr/bin/tcpdump"],
  ["tshark", "/usr/bin/tshark"],
  ["openssl", "/usr/bin/openssl"],
  ["curl", "/usr/bin/curl"],
  ["nginx-light", "/usr/sbin/nginx"],
  ["iputils-ping", "/usr/bin/ping"],
  ["python3", PYTHON],
  ["hey", "/usr/bin/hey"],
  ["postfix", "/usr/lib/postfix/sbin/master"],
  ["tinyproxy-bin", "/usr/bin/tinyproxy"],
  ["util-linux", "/usr/bin/setpriv"],
] as const;

/** Why the lab cannot run here, as the rest of a sentence; undefined if it can. */
export function missingRequirement(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, to make network namespaces";
  const missing = PACKAGES.filter(([, program]) => !existsSync(program)).map(([name]) => name);
  return missing.length === 0
    ? undefined
    : `needs Debian's ${missing.join(", ")} (apt-get install ${missing.join(" ")})`;
}
