import { isIPv6, type Server, type Socket } from "node:net";
import { ConfigError, NetworkError } from "../errors.ts";
import {
  ACCEPTING,
  acceptingPort,
  MARK,
  markAtA,
  namespaceOf,
  type Owner,
  queueOf,
  type ToolInterfaces,
} from "../kernel/tool/numbers.ts";
import { type Accept, listen } from "../linux/listen.ts";
import { within } from "../linux/netns.ts";
import { openQueue } from "../linux/nfqueue.ts";
import { readSyn } from "../linux/packet.ts";
import { connectFrom } from "../linux/sockets.ts";
import type { Endpoint } from "../vocabulary.ts";
import { plainAddress } from "../wire/proxy-protocol.ts";
import { createPairing, type Pairing } from "./pairing.ts";
import { type PortMap, toolPort } from "./ports.ts";
import type { Hop, Tool, ToolContext, ToolSettings, ToolSubject } from "./tool.ts";

/** A tool between two interfaces. */
export interface InlineTool extends ToolSettings, ToolInterfaces {
  readonly ports: PortMap;
}

/**
 * A worker's ends of a tool between two interfaces. A session's connection leaves at A with the addresses of client and server. When its
 * SYN comes back at B, the kernel queues it; if a session awaits it, the node accepts the connection. The supervisor has made the
 * namespace. Throws ConfigError.
 */
export async function openInlineTool(
  tool: InlineTool,
  { path, worker, timeout }: Pick<ToolContext, "path" | "worker" | "timeout">,
): Promise<Tool> {
  const namespace = namespaceOf(tool);
  const pairing = createPairing<Socket>(plainAddress);
  const servers: Server[] = [];
  let broken: string | undefined;
  try {
    for (const family of [4, 6] as const) {
      const accept: Accept = (socket, from, to) => {
        if (!pairing.onConnection(socket, from, to)) socket.resetAndDestroy();
      };
      servers.push(await listenAtB({ namespace, owner: worker, family }, accept));
    }
    const queue = within(namespace, () =>
      openQueue({
        number: queueOf(worker),
        onPacket({ id, payload }) {
          const syn = readSyn(payload);
          const awaited = syn && pairing.onSyn(syn.source, syn.destination) === "awaited";
          queue.verdict(id, awaited ? "accept" : "drop");
        },
        onError: ({ message }) => {
          broken = message;
        },
      }),
    );
    return {
      name: tool.name,
      kind: "inline",
      async connect(subject, onReturn) {
        if (broken !== undefined)
          throw new NetworkError(`Cannot read the queue of SYNs that come back through ${tool.name}: ${broken}`, "EIO");
        return enter({ tool, namespace, pairing, worker, timeout: timeout() }, subject, onReturn);
      },
      counters: () => ({ strangers: pairing.strangers }),
      close() {
        for (const server of servers) server.close();
        return queue.close();
      },
    };
  } catch (error) {
    for (const server of servers) server.close();
    throw new ConfigError(path, `Cannot open the tool ${tool.name} (${path}): ${(error as Error).message}`, {
      cause: error,
    });
  }
}

interface OpenTool {
  readonly tool: InlineTool;
  readonly namespace: string;
  readonly pairing: Pairing<Socket>;
  readonly worker: Owner;
  /** ms */
  readonly timeout: number;
}

/** Another session may already use the client's port, when the tool sees both server ports as the same. */
const PORTS_TRIED = 16;
const PORT_TAKEN: readonly string[] = ["EADDRINUSE", "EADDRNOTAVAIL"];

async function enter(open: OpenTool, subject: ToolSubject, onReturn: () => void): Promise<Hop> {
  const { tool, pairing } = open;
  const [client, server] = ofOneFamily(subject.client.address, subject.server.address);
  const to = { address: server, port: toolPort(tool.ports, subject) };
  for (let attempt = 0; ; attempt++) {
    const from = { address: client, port: attempt === 0 ? subject.client.port : anyPort() };
    try {
      if (!pairing.has(from, to)) return await connect(open, from, to, onReturn);
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      if (!PORT_TAKEN.includes(error.code) || attempt === PORTS_TRIED) {
        throw new NetworkError(`The tool ${tool.name} was not reached: ${error.message}`, error.code, { cause: error });
      }
    }
  }
}

async function connect(open: OpenTool, from: Endpoint, to: Endpoint, onReturn: () => void): Promise<Hop> {
  const { tool, namespace, pairing, worker, timeout } = open;
  const { promise: tb, resolve, reject } = Promise.withResolvers<Socket>();
  // The caller handles a rejection. Until it does, one must not end the process.
  tb.catch(() => {});
  const awaited = pairing.await(from, to, { onReturn, onConnection: resolve });
  let ta: Socket;
  try {
    ta = await dialAtA({ namespace, owner: worker }, from, to, timeout);
  } catch (error) {
    awaited.forget();
    throw error;
  }
  const late = setTimeout(() => {
    reject(
      new NetworkError(`The tool ${tool.name} took the session and did not give it back in ${timeout} ms`, "ETIMEDOUT"),
    );
  }, timeout);
  const gone = () =>
    reject(new NetworkError(`The tool ${tool.name} ended the session before it came back`, "ECONNRESET"));
  ta.once("close", gone);
  const over = () => {
    clearTimeout(late);
    ta.off("close", gone);
  };
  tb.then(
    (socket) => {
      over();
      // Until both are closed, a packet with these ends belongs to this connection.
      const ends = [ta, socket].filter((end) => !end.closed);
      for (const end of ends) {
        end.once("close", () => {
          if ([ta, socket].every(({ closed }) => closed)) awaited.forget();
        });
      }
      if (ends.length === 0) awaited.forget();
    },
    () => {
      over();
      awaited.forget();
    },
  );
  return { tool: tool.name, ta, tb };
}

/** Connects through interface A with the client's address. Throws NetworkError. */
export async function dialAtA(
  { namespace, owner }: { readonly namespace: string; readonly owner: Owner },
  from: Endpoint,
  to: Endpoint,
  timeout: number,
): Promise<Socket> {
  const mark = markAtA(owner);
  return within(namespace, () => ({ connected: connectFrom({ from, to, timeout, mark, exactly: true }) })).connected;
}

/** Accepts the connections that come back at interface B for this owner. Rejects with NetworkError. */
export async function listenAtB(
  { namespace, owner, family }: { readonly namespace: string; readonly owner: Owner; readonly family: 4 | 6 },
  accept: Accept,
): Promise<Server> {
  const place = { host: ACCEPTING[family], port: acceptingPort(owner), shared: false, transparent: { mark: MARK.B } };
  return within(namespace, () => ({ listening: listen(place, accept) })).listening;
}

/** RFC 4291, section 2.5.6. */
const LINK_LOCAL = /^fe80::/;

/**
 * A packet has one family. Where only one end is IPv6, the IPv4 end is written with the prefix of translators (RFC 6052, section
 * 2.1). ::1 and link-local addresses are valid on their own interface only: ::1 is written as 127.0.0.1, a link-local address with
 * the local prefix of translators (RFC 8215).
 */
function ofOneFamily(client: string, server: string): readonly [string, string] {
  const ends = [client, server].map((end) => {
    const address = plainAddress(end);
    return address === "::1" ? "127.0.0.1" : address.replace(LINK_LOCAL, "64:ff9b:1::");
  });
  if (!ends.some((end) => isIPv6(end))) return [ends[0]!, ends[1]!];
  const [a, b] = ends.map((end) => (isIPv6(end) ? end : `64:ff9b::${end}`));
  return [a!, b!];
}

function anyPort(): number {
  return 1024 + Math.floor(Math.random() * (65_536 - 1024));
}
