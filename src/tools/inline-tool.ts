import { isIPv6 } from "node:net";
import { connectFrom } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { type Accept, listen } from "../engine/listen.ts";
import type { Loop } from "../engine/loop.ts";
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
import { within } from "../linux/netns.ts";
import { openQueue } from "../linux/nfqueue.ts";
import { readSyn } from "../linux/packet.ts";
import { mappedPort, type PortMap } from "../port-map.ts";
import type { Endpoint } from "../vocabulary.ts";
import { plainAddress } from "../wire/proxy-protocol.ts";
import { createPairing, type Pairing } from "./pairing.ts";
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
  { path, worker, loop, timeout }: Pick<ToolContext, "path" | "worker" | "loop" | "timeout">,
): Promise<Tool> {
  const namespace = namespaceOf(tool);
  const pairing = createPairing<End>(plainAddress);
  const listeners: End[] = [];
  let broken: string | undefined;
  try {
    for (const family of [4, 6] as const) {
      const accept: Accept = (tb, from, to) => {
        if (!pairing.onConnection(tb, from, to)) tb.reset();
      };
      listeners.push(listenAtB({ loop, namespace, owner: worker, family }, accept));
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
        return enter({ tool, loop, namespace, pairing, worker, timeout: timeout() }, subject, onReturn);
      },
      counters: () => ({ strangers: pairing.strangers }),
      close() {
        for (const listener of listeners) listener.close();
        return queue.close();
      },
    };
  } catch (error) {
    for (const listener of listeners) listener.close();
    throw new ConfigError(path, `Cannot open the tool ${tool.name} (${path}): ${(error as Error).message}`, {
      cause: error,
    });
  }
}

interface OpenTool {
  readonly tool: InlineTool;
  readonly loop: Loop;
  readonly namespace: string;
  readonly pairing: Pairing<End>;
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
  const to = { address: server, port: mappedPort(tool.ports, subject) };
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
  const { tool, loop, namespace, pairing, worker, timeout } = open;
  const { promise: tb, resolve, reject } = Promise.withResolvers<End>();
  // The caller handles a rejection. Until it does, one must not end the process.
  tb.catch(() => {});
  let late: NodeJS.Timeout | undefined;
  let state: "awaited" | "back" | "failed" = "awaited";
  // Until both are closed, a packet with these ends belongs to this connection.
  let connections = 2;
  const onClosed = () => {
    connections -= 1;
    if (connections === 0) awaited.forget();
  };
  const onConnection = (end: End) => {
    state = "back";
    clearTimeout(late);
    end.onceClosed(onClosed);
    resolve(end);
  };
  /** Forgets the session at once: a connection that still comes back is a stranger, which is reset. */
  const fail = (message: string, code: string) => {
    if (state !== "awaited") return;
    state = "failed";
    clearTimeout(late);
    awaited.forget();
    reject(new NetworkError(message, code));
  };
  const awaited = pairing.await(from, to, { onReturn, onConnection });
  let ta: End;
  try {
    ta = await dialAtA({ loop, namespace, owner: worker }, from, to, timeout);
  } catch (error) {
    awaited.forget();
    // It may have come back just before.
    void tb.then((end) => end.close());
    throw error;
  }
  ta.onceClosed(() => {
    onClosed();
    fail(`The tool ${tool.name} ended the session before it came back`, "ECONNRESET");
  });
  const message = `The tool ${tool.name} took the session and did not give it back in ${timeout} ms`;
  if (state === "awaited") late = setTimeout(() => fail(message, "ETIMEDOUT"), timeout);
  return { tool: tool.name, ta, tb };
}

/** Connects through interface A with the client's address. Rejects with NetworkError. */
export function dialAtA(
  { loop, namespace, owner }: { readonly loop: Loop; readonly namespace: string; readonly owner: Owner },
  from: Endpoint,
  to: Endpoint,
  timeout: number,
): Promise<End> {
  const options = { from, to, timeout, mark: markAtA(owner), exactly: true };
  return within(namespace, () => ({ connected: connectFrom(loop, options) })).connected;
}

/** Accepts the connections that come back at interface B for this owner. Throws NetworkError. */
export function listenAtB(
  {
    loop,
    namespace,
    owner,
    family,
  }: { readonly loop: Loop; readonly namespace: string; readonly owner: Owner; readonly family: 4 | 6 },
  accept: Accept,
): End {
  const place = { host: ACCEPTING[family], port: acceptingPort(owner), shared: false, transparent: { mark: MARK.B } };
  return within(namespace, () => listen(loop, place, accept));
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
