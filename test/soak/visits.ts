import { randomInt } from "node:crypto";
import { connect, openSocket } from "../../src/engine/dial.ts";
import type { End } from "../../src/engine/end.ts";
import { loop, readBytes, writeAll } from "../../src/engine/test-ends.ts";
import { within } from "../../src/linux/netns.ts";
import type { TestNode } from "../node.ts";
import { request, type Web } from "./http.ts";
import type { SoakNetwork } from "./network.ts";
import { type Kind, mailClient, type Server, secureAsClient } from "./peers.ts";
import { DROPPED, type Host } from "./policy.ts";
import { recordOf } from "./record.ts";
import { converse, type Order, pickEnd } from "./transfer.ts";
import type { Trust } from "./trust.ts";

/** The clients of a soak: what each of them does, and what it must see. */

/** How a session comes to the node. */
type Mode = "forward" | "explicit" | "inline";

/** A session of bytes that mean nothing. */
interface Talk extends Order {
  readonly kind: Kind;
  readonly mode: Mode;
  readonly host: Host;
  /** STARTTLS comes first. */
  readonly mail: boolean;
}

export type Visit = Talk | { readonly kind: Web; readonly host: Host; readonly up: number; readonly down: number };

/** TLS 1.3 and 1.2 more often than the others. */
const KINDS: readonly Visit["kind"][] = [
  ...(["plain", "SSLv3", "TLSv1", "TLSv1.1"] as const),
  ...many<Kind>("TLSv1.2", 3),
  ...many<Kind>("TLSv1.3", 4),
  ...(["http", "https", "h2"] as const),
];

/** ms that a connection has to be made. */
const TIMEOUT = 30_000;

export interface Where {
  readonly node: TestNode;
  readonly trust: Trust;
  /** Of the servers, on loopback and in their network. */
  readonly ports: Readonly<Record<string, number>>;
  readonly farPorts: Readonly<Record<string, number>>;
  readonly network: SoakNetwork | undefined;
}

export function pick(longest: number, hosts: readonly Host[], isAnywhere: boolean): Visit {
  const modes: readonly Mode[] = isAnywhere ? ["forward", "explicit", "inline"] : ["forward", "explicit"];
  const kind = oneOf(KINDS);
  const [up, down, host] = [randomInt(longest), randomInt(longest), oneOf(hosts)];
  if (kind === "http" || kind === "https" || kind === "h2") return { kind, host, up, down };
  const mail = kind.startsWith("TLS") && randomInt(8) === 0;
  return { kind, mode: oneOf(modes), host, mail, up, down, end: pickEnd() };
}

export function isKilled(visit: Visit): boolean {
  return "end" in visit && visit.end.endsWith("kills");
}

export function describeVisit(visit: Visit): string {
  const { kind, host, up, down } = visit;
  const more = "mode" in visit ? [visit.mode, ...(visit.mail ? ["STARTTLS"] : []), visit.end] : [];
  return [kind, host, ...more, `${up} up`, `${down} down`].join(", ");
}

/** Throws when something else comes than should. */
export async function carryOut(where: Where, visit: Visit): Promise<void> {
  // Without an SNI the node knows no host to drop.
  const isDropped = visit.host === DROPPED && !["plain", "SSLv3", "http"].includes(visit.kind);
  if (!isDropped) return go(where, visit);
  const came = await go(where, visit).then(
    () => true,
    () => false,
  );
  if (came) throw new Error("it should have been dropped");
}

async function go(where: Where, visit: Visit): Promise<void> {
  if (!("mode" in visit)) return request(where, visit);
  const { kind, mode, host, mail, ...order } = visit;
  const began = Date.now();
  const end = await reach(where, serverOf(visit), mode);
  const port = end.local()?.port;
  try {
    if (mail) await mailClient(end);
    if (kind !== "plain") {
      const shown = await secureAsClient(end, kind, host);
      await where.trust.check(shown, kind === "SSLv3" ? undefined : host, began);
    }
    await converse(end, order);
  } catch (error) {
    if (host === DROPPED) throw error;
    throw new Error(`${(error as Error).message}; ${await recordOf(where.node, port, began)}`);
  } finally {
    end.reset();
  }
}

function serverOf({ kind, mail }: Talk): Server {
  if (mail) return "mail";
  return kind === "plain" || kind === "SSLv3" ? kind : "tls";
}

async function reach({ node, ports, farPorts, network }: Where, server: Server, mode: Mode): Promise<End> {
  const here = (port: number) => connect(loop, openSocket("127.0.0.1"), { address: "127.0.0.1", port }, TIMEOUT);
  if (mode === "forward") return here(node.forward(server));
  if (mode === "inline") {
    const { client, server: far } = network!.crossing;
    const fd = within(client.namespace!, () => openSocket(far.address));
    return connect(loop, fd, { address: far.address, port: farPorts[server]! }, TIMEOUT);
  }
  const end = await here(node.proxy);
  const target = `127.0.0.1:${ports[server]}`;
  await writeAll(end, Buffer.from(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`));
  const { bytes } = await readBytes(end, ESTABLISHED.length);
  if (bytes.toString() !== ESTABLISHED) throw new Error(`CONNECT was answered ${JSON.stringify(bytes.toString())}`);
  return end;
}

const ESTABLISHED = "HTTP/1.1 200 Connection established\r\n\r\n";

function oneOf<T>(values: readonly T[]): T {
  return values[randomInt(values.length)]!;
}

function many<T>(value: T, times: number): T[] {
  return Array.from({ length: times }, () => value);
}
