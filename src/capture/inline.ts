import { connectFrom } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { sendHeader } from "../engine/ip-header.ts";
import { type Accept, listen } from "../engine/listen.ts";
import type { Loop } from "../engine/loop.ts";
import { ConfigError, InvariantError, NetworkError } from "../errors.ts";
import type { Marks, PlannedListener } from "../kernel/listener/lane.ts";
import { PacketLog } from "../linux/nflog.ts";
import { openQueue } from "../linux/nfqueue.ts";
import { readReset, readSyn } from "../linux/packet.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival, ConnectFrom } from "./arrival.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";
import { mostHeld, SynHold, type SynVerdict } from "./syn-hold.ts";
import { speakAs, Way } from "./way.ts";

export interface InlineListener {
  readonly name: string;
  readonly synHold: boolean;
  /** What a held client hears when the server stays silent. */
  readonly unreachable: "reset" | "silent";
}

/** ms for a client whose SYN was released to complete its handshake. That leaves time for several retransmissions. */
const PATIENCE = 10_000;

/**
 * Takes the connections that the kernel steers to this node by the rules of kernel/listener/plan.ts. Each worker listens at the port
 * that all workers share and at a port of its own. The SYNs that a worker has held are steered to its own port, so the worker that has
 * connected to the server accepts the client. Throws ConfigError.
 */
export async function openInline(listener: InlineListener, context: CaptureContext): Promise<OpenListener> {
  const lanes = context.inline?.listeners.filter(({ name }) => name === listener.name) ?? [];
  if (lanes.length === 0) throw new InvariantError(`Cannot capture inline: no plan was made for ${listener.name}`);
  const opened: OpenListener[] = [];
  const close = () => Promise.all(opened.map((lane) => lane.close()));
  try {
    for (const lane of lanes) opened.push(openLane(listener, lane, context));
  } catch (error) {
    await close();
    const why = (error as NodeJS.ErrnoException).code === "EPERM" ? "it needs CAP_NET_ADMIN" : (error as Error).message;
    throw new ConfigError(context.path, `Cannot capture inline (${context.path}): ${why}`, { cause: error });
  }
  return { close };
}

/** Takes the connections of one VLAN, or of the frames without a tag. */
function openLane(inline: InlineListener, planned: PlannedListener, context: CaptureContext): OpenListener {
  const { worker, loop, settings, arrive } = context;
  const { vlan, device, sharedPort, workerPorts, queues, answers, hops, onward, clientMark, serverMark } = planned;
  const listener = { ...inline, vlan };
  const [ownPort, number] = [workerPorts[worker], queues[worker]];
  const copies = openAnswers(answers[worker], listener.name, loop);
  const way = new Way(hops, copies);
  const connect: ConnectFrom = async (from, to, header) => {
    const server = await connectFrom(loop, {
      from,
      to,
      timeout: settings().timeouts.connect,
      mark: serverMark,
      header,
    });
    way.reached(server, to);
    return server;
  };
  const limit = () => mostHeld(settings().sessions, context.inline!.listeners.length);
  const servers: End[] = [];
  /** The listening sockets that released SYNs go on to, by the address that they listen at. */
  const own = new Map<string, End>();
  const holdOptions = {
    ...{ listener, connectFrom: connect, patience: PATIENCE, limit, arrive },
    // The kernel answers before the verdict's system call returns.
    releasing(server: End | undefined) {
      for (const [host, { fd }] of own) sendHeader(fd, host, way.toClient(server));
    },
    accepted: (client: End, server: End | undefined) => speakAs(client, way.toClient(server)),
  };
  try {
    const hold = listener.synHold ? new SynHold(holdOptions) : undefined;
    const accept: Accept = (client, from, to) => {
      if (!hold?.claim(client, from, to)) arrive(arriveInline(client, from, to, listener, connect, way));
    };
    const transparent = { mark: clientMark, device };
    for (const host of ["0.0.0.0", "::"]) {
      const shared = listen(loop, { host, port: sharedPort, shared: true, transparent, savesSyns: true }, accept);
      servers.push(shared);
      // What the server will say is not known yet, and a client that follows RFC 5082 takes nothing less.
      sendHeader(shared.fd, host, { hopLimit: 255 });
      if (!hold || ownPort === undefined) continue;
      const end = listen(loop, { host, port: ownPort, shared: false, transparent }, accept);
      servers.push(end);
      own.set(host, end);
    }
    const queue =
      hold && number !== undefined ? openHold(number, context.inline!.marks, onward, worker, hold, way) : undefined;
    return {
      close() {
        for (const server of servers) server.close();
        copies?.close();
        return queue?.close();
      },
    };
  } catch (error) {
    for (const server of servers) server.close();
    copies?.close();
    throw error;
  }
}

/** Without them clients get the hop limit and the traffic class of this machine, and all else works. */
function openAnswers(group: number | undefined, listener: string, loop: Loop): PacketLog | undefined {
  if (group === undefined) return undefined;
  try {
    return new PacketLog(group);
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const message = `${listener}: the TTL and DSCP of servers are not carried to clients. ${error.message}`;
    loop.report(new NetworkError(message, error.code, { cause: error }));
    return undefined;
  }
}

/** The kernel's queue of held SYNs. A verdict is a mark that the rules match. */
function openHold(number: number, marks: Marks, onward: number, worker: number, hold: SynHold, way: Way) {
  const values: Readonly<Record<Exclude<SynVerdict, "drop">, number | undefined>> = {
    release: marks.workers[worker],
    pass: undefined,
    reset: marks.refused,
    hostUnreachable: marks.hostUnreachable,
    netUnreachable: marks.netUnreachable,
    prohibited: marks.prohibited,
  };
  const queue = openQueue({
    number,
    onPacket({ id, payload, mark }) {
      const syn = readSyn(payload);
      if (!syn) {
        const reset = readReset(payload);
        // The client has refused what answered its SYN, and the server must not hear it.
        if (reset && hold.refused(reset.source, reset.destination)) return queue.verdict(id, "drop");
        return queue.verdict(id, "accept", ((mark & ~marks.mask) | onward) >>> 0);
      }
      const decide = (verdict: SynVerdict) => {
        if (verdict === "drop") return queue.verdict(id, "drop");
        const value = values[verdict];
        if (value === undefined) return queue.verdict(id, "accept");
        // The other bits of the mark belong to others.
        return queue.verdict(id, "accept", ((mark & ~marks.mask) | value) >>> 0);
      };
      const { source, destination, sequence, header } = syn;
      return hold.hold({ source, destination, sequence, header: way.onward(header), decide });
    },
    // When nobody reads the queue, the kernel lets SYNs pass, and the shared socket accepts their connections.
    onError: () => {},
  });
  return queue;
}

/**
 * A connection whose client was accepted before the server is reached: the client believes that it is connected to `to`, the server.
 * The accepted socket has `to` as its local address.
 */
function arriveInline(
  client: End,
  from: Endpoint,
  to: Endpoint,
  listener: { readonly name: string; readonly vlan: string | null },
  connect: ConnectFrom,
  way: Way,
): Arrival {
  return {
    listener: listener.name,
    vlan: listener.vlan,
    mode: "inline",
    from,
    client,
    locate: async () => ({ host: to.address, port: to.port, connectHost: null, http: false }),
    async dial([address = to.address], port) {
      const server = await connect(from, { address, port }, way.ofAccepted(client));
      speakAs(client, way.toClient(server));
      return server;
    },
    welcome: async () => client,
    refuse: () => void client.reset(),
  };
}
