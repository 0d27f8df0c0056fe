import type { End } from "../engine/end.ts";
import type { Endpoint } from "../vocabulary.ts";
import { type ProxyHeader, plainAddress, writeProxyHeader } from "../wire/proxy-protocol.ts";
import { createLineRemover, type LineRemover, writeSslproxyLine } from "../wire/sslproxy-line.ts";
import type { AwaitedReturn, Returns } from "./returns.ts";
import type { ToolSubject } from "./tool.ts";

/** How a proxy tool is told of one session, and how the connection that it makes back is recognised. */
export interface SessionHeader {
  /** The bytes for the tool before the session's own. Called once the tool has been reached. */
  write(ta: End): Buffer;
  readonly returned: Promise<End>;
  readonly lineRemover: LineRemover | undefined;
  /** The connection is no longer awaited. */
  close(): void;
}

/**
 * A PROXY header. The connection back has a PROXY header too: its unique ID is the session's, or, from a tool that passes no unique
 * ID on, its addresses are one of the pairs below.
 */
export function proxyHeader(
  name: string,
  { id, client, server, alpn, host }: ToolSubject,
  returns: Returns,
): SessionHeader {
  const { promise: returned, resolve } = Promise.withResolvers<End>();
  const awaited: AwaitedReturn = { take: resolve };
  const keys = [uniqueKey(name, id), pairKey(name, client, server)];
  returns.expect(awaited, keys);
  return {
    write(ta) {
      // A tool may name its own connection, or the client together with itself as the server.
      const more = [connectionKey(name, ta), pairKey(name, client, ta.remote() ?? NOWHERE)];
      keys.push(...more);
      returns.expect(awaited, more);
      return writeProxyHeader({ source: client, destination: server, alpn, authority: host, uniqueId: id });
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
): SessionHeader {
  const { promise: returned, resolve } = Promise.withResolvers<End>();
  let lineRemover: LineRemover | undefined;
  const port = openPort((back) => {
    port.close();
    resolve(back);
  });
  const at = port.local()!;
  return {
    write(ta) {
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
    close: () => port.close(),
  };
}

/** Everything in a PROXY header by which its session can be found, the surest first. */
export function keysOf(name: string, { uniqueId, source, destination }: ProxyHeader): string[] {
  const unique = uniqueId ? [uniqueKey(name, uniqueId.toString("latin1"))] : [];
  return source && destination ? [...unique, pairKey(name, source, destination)] : unique;
}

/** The key of a tool that names the node's own connection to it. */
export function connectionKey(name: string, ta: End): string {
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
