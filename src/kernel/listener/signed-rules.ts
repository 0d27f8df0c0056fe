import type { Lane } from "./lane.ts";

type Family = "inet" | "bridge";

/**
 * BGP, and whatever else signs its TCP: nobody in between can carry such a connection, so the kernel forwards it.
 *
 * A client must not evade decryption by an option that its server ignores: what answers a signed SYN has to be signed too, or it is
 * dropped. That goes for every segment: a server that waits for the client's ACK answers a wrong one with an ACK of its own (RFC 9293,
 * section 3.10.7.4), and this tells the client the number with which it could go on unsigned.
 */

/** The options of RFC 2385 (TCP-MD5) and RFC 5925 (TCP-AO). */
const OPTIONS = [19, 29] as const;

/** RFC 4271, section 4. */
const BGP = 179;

/** Connections whose signed SYN has passed, for the time in which it is answered. */
export function signedSets({ index, listener }: Lane): string[] {
  if (listener.bgp !== "pass") return [];
  return ([4, 6] as const).flatMap((family) => [
    `set signed-${index}-${family} {`,
    `  type ipv${family}_addr . inet_service . ipv${family}_addr . inet_service`,
    ...["  flags dynamic,timeout", "  timeout 1m", "  size 65536", "}"],
  ]);
}

/** For SYNs, behind the rows that drop. Nothing but the kernel can carry what is signed, whatever the other rows say. */
export function passSigned(lane: Lane, family: Family, pass: () => string): string[] {
  if (lane.listener.bgp !== "pass" || isLifted(lane, family)) return [];
  const then = pass();
  return OPTIONS.flatMap((option) =>
    (["ip", "ip6"] as const).map((ip) => {
      const key = `${ip} saddr . tcp sport . ${ip} daddr . tcp dport`;
      return `tcp option ${option} exists update @signed-${lane.index}-${ip === "ip" ? 4 : 6} { ${key} } ${then}`;
    }),
  );
}

/** For SYNs, behind all rows: a rule may still say that the node takes them. */
export function passBgp(lane: Lane, pass: () => string): string[] {
  return lane.listener.bgp === "pass" ? [`tcp dport ${BGP} ${pass()}`] : [];
}

/** For what servers send. A RST passes: it ends the connection. As long as the server answers, its answers are watched. */
export function dropUnsigned(lane: Lane, family: Family, drop: () => string): string[] {
  if (lane.listener.bgp !== "pass" || isLifted(lane, family)) return [];
  const unsigned = OPTIONS.map((option) => `tcp option ${option} missing`).join(" ");
  const then = drop();
  return (["ip", "ip6"] as const).map((ip) => {
    const key = `${ip} daddr . tcp dport . ${ip} saddr . tcp sport`;
    const set = `@signed-${lane.index}-${ip === "ip" ? 4 : 6}`;
    return `tcp flags & rst == 0x0 ${key} ${set} ${unsigned} update ${set} { ${key} } ${then}`;
  });
}

/** For frames of a bridge that are no SYN, and of none of our connections. */
export function signedFrames({ listener }: Lane): string[] {
  if (listener.bgp !== "pass") return [];
  return [
    ...OPTIONS.map((option) => `tcp option ${option} exists accept`),
    `tcp sport ${BGP} accept`,
    `tcp dport ${BGP} accept`,
  ];
}

/** A SYN in fragments on a bridge: its answer does not come by the IP rules. */
function isLifted({ bridge }: Lane, family: Family): boolean {
  return family === "inet" && bridge !== undefined;
}
