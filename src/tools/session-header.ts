import { randomBytes } from "node:crypto";
import type { End } from "../engine/end.ts";
import type { Endpoint } from "../vocabulary.ts";
import { type ProxyHeader, plainAddress, writeProxyHeader } from "../wire/proxy-protocol.ts";
import { createLineRemover, type LineRemover, writeSslproxyLine } from "../wire/sslproxy-line.ts";
import { type AwaitedReturn, portKey, type Returns } from "./returns.ts";
import type { Matching, ToolSubject } from "./tool.ts";

/** How a proxy tool is told of one session, and how the connection that it makes back is recognised. */
export interface SessionHeader {
  /**
   * The bytes for the tool before the session's own. Called once the tool has been reached. They are not sent before this resolves:
   * a connection back that came earlier would find no session.
   */
  write(ta: End): Promise<Buffer>;
  readonly returned: Promise<End>;
  readonly lineRemover: LineRemover | undefined;
  /** The connection is no longer awaited. */
  close(): void;
}

/** Random bytes of a unique ID: nobody can guess them, so who knows them is the tool that was sent them. */
const SECRET = 16;
/** The longest header that nginx before 1.23.2 takes, in bytes. */
const LONGEST_HEADER = 107;

/**
 * A PROXY header. The connection back has a PROXY header too, with the same unique ID. Only if the tool's `matching` is "addresses"
 * do the addresses in it count as well, as one of the pairs below.
 */
export function proxyHeader(
  { name, matching }: { readonly name: string; readonly matching: Matching },
  { id, client, server, alpn, host }: ToolSubject,
  returns: Pick<Returns, "expect" | "forget">,
): SessionHeader {
  const { promise: returned, resolve } = Promise.withResolvers<End>();
  let isTaken = false;
  const awaited: AwaitedReturn = {
    take(back) {
      // Nobody waits for the tool to connect back again.
      if (isTaken) back.close();
      isTaken = true;
      resolve(back);
    },
  };
  // The session's own ID is in front, for the tool's log.
  const uniqueId = matching === "addresses" ? id : `${id}-${randomBytes(SECRET).toString("hex")}`;
  const keys = [uniqueKey(name, uniqueId)];
  const found = returns.expect(awaited, keys);
  const expectPairs = (ta: End) => {
    // A tool may name its own connection, or the client together with itself as the server.
    const pairs = [
      pairKey(name, client, server),
      connectionKey(name, ta),
      pairKey(name, client, ta.remote() ?? NOWHERE),
    ];
    keys.push(...pairs);
    return returns.expect(awaited, pairs);
  };
  return {
    async write(ta) {
      await Promise.all([found, matching === "addresses" ? expectPairs(ta) : undefined]);
      const ends = { source: client, destination: server };
      const whole = writeProxyHeader({ ...ends, alpn, authority: host, uniqueId });
      // A tool that passes nothing on may be one that takes no long header. It still learns the ends.
      const isTooLong = matching === "addresses" && whole.length > LONGEST_HEADER;
      return isTooLong ? writeProxyHeader(ends) : whole;
    },
    returned,
    lineRemover: undefined,
    close: () => returns.forget(awaited, keys),
  };
}

/** SSLproxy's line. It names a port to connect back to, so each session has a port of its own. Throws NetworkError. */
export function sslproxyLine(
  { client, server, flow }: ToolSubject,
  openPort: (accept: (back: End) => void) => End,
  returns: Pick<Returns, "expect" | "forget">,
): SessionHeader {
  const { promise: returned, resolve } = Promise.withResolvers<End>();
  let lineRemover: LineRemover | undefined;
  const port = openPort((back) => {
    port.close();
    resolve(back);
  });
  const at = port.local()!;
  // No connection comes by this key. It tells every worker that sessions must not lead to this port.
  const awaited: AwaitedReturn = { take: (back) => back.close() };
  const keys = [portKey(at.port)];
  const found = returns.expect(awaited, keys);
  return {
    async write(ta) {
      await found;
      const everywhere = at.address === "0.0.0.0" || at.address === "::";
      const to = everywhere ? { ...(ta.local() ?? NOWHERE), port: at.port } : at;
      const line = writeSslproxyLine({ back: to, client, server, decrypted: flow === "decrypted" });
      lineRemover = createLineRemover(line);
      return line;
    },
    returned,
    get lineRemover() {
      return lineRemover;
    },
    close() {
      returns.forget(awaited, keys);
      port.close();
    },
  };
}

/** Everything in a PROXY header by which its session can be found, the surest first, and then its heartbeat. */
export function keysOf(
  { name, matching }: { readonly name: string; readonly matching: Matching },
  { uniqueId, source, destination }: ProxyHeader,
): string[] {
  const unique = uniqueId ? [uniqueKey(name, uniqueId.toString("latin1"))] : [];
  if (!source || !destination) return unique;
  const pair = pairKey(name, source, destination);
  return [...unique, ...(matching === "addresses" ? [pair] : []), heartbeatKey(pair)];
}

/** The key of a heartbeat: the node's own connection to the tool. */
export function keyOfHeartbeat(name: string, ta: End): string {
  return heartbeatKey(connectionKey(name, ta));
}

function heartbeatKey(pair: string): string {
  return `heartbeat ${pair}`;
}

/** The key of a tool that names the node's own connection to it. */
function connectionKey(name: string, ta: End): string {
  return pairKey(name, ta.local() ?? NOWHERE, ta.remote() ?? NOWHERE);
}

function uniqueKey(name: string, id: string): string {
  return `${name} ${id}`;
}

function pairKey(name: string, source: Endpoint, destination: Endpoint): string {
  return [name, ...[source, destination].flatMap(({ address, port }) => [plainAddress(address), port])].join(" ");
}

/** A connection that has closed meanwhile has no addresses. */
const NOWHERE: Endpoint = { address: "0.0.0.0", port: 0 };
