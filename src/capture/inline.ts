import { connectFrom } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import { type Accept, listen } from "../engine/listen.ts";
import { ConfigError, InvariantError } from "../errors.ts";
import type { Marks } from "../kernel/listener/lane.ts";
import { openQueue } from "../linux/nfqueue.ts";
import { readSyn } from "../linux/packet.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival, ConnectFrom } from "./arrival.ts";
import type { CaptureContext, OpenListener } from "./mode.ts";
import { SynHold, type SynVerdict } from "./syn-hold.ts";

export interface InlineListener {
  readonly name: string;
  readonly synHold: boolean;
}

/** ms that a client whose SYN was released has to complete its handshake: two retransmissions of its ACK. */
const PATIENCE = 10_000;

/**
 * Takes the connections that the kernel lifts out of the path; `kernel/listener/plan.ts` chose which. Each worker listens at
 * the port that all share and at one of its own, to which the SYNs that it held are steered: whoever connected to the
 * server accepts the client.
 */
export async function openInline(listener: InlineListener, context: CaptureContext): Promise<OpenListener> {
  const { path, inline, worker, loop, settings, arrive } = context;
  const planned = inline?.listeners.find(({ name }) => name === listener.name);
  if (!inline || !planned) throw new InvariantError(`Cannot capture inline: no plan was made for ${listener.name}`);
  const { sharedPort, workerPorts, queues, clientMark, serverMark } = planned;
  const [ownPort, number] = [workerPorts[worker], queues[worker]];
  const connect = (from: Endpoint, to: Endpoint) =>
    connectFrom(loop, { from, to, timeout: settings().timeouts.connect, mark: serverMark });
  const servers: End[] = [];
  try {
    const hold = listener.synHold
      ? new SynHold({ listener, connectFrom: connect, patience: PATIENCE, limit: () => settings().sessions, arrive })
      : undefined;
    const accept: Accept = (client, from, to) => {
      if (!hold?.claim(client, from, to)) arrive(arriveInline(client, from, to, listener, connect));
    };
    const transparent = { mark: clientMark };
    for (const host of ["0.0.0.0", "::"]) {
      servers.push(listen(loop, { host, port: sharedPort, shared: true, transparent }, accept));
      if (hold && ownPort !== undefined)
        servers.push(listen(loop, { host, port: ownPort, shared: false, transparent }, accept));
    }
    const queue = hold && number !== undefined ? openHold(number, inline.marks, worker, hold) : undefined;
    return {
      close() {
        for (const server of servers) server.close();
        return queue?.close();
      },
    };
  } catch (error) {
    for (const server of servers) server.close();
    const why = (error as NodeJS.ErrnoException).code === "EPERM" ? "it needs CAP_NET_ADMIN" : (error as Error).message;
    throw new ConfigError(path, `Cannot capture inline (${path}): ${why}`, { cause: error });
  }
}

/** The kernel's queue of held SYNs, whose verdicts are marks that the packet filter reads. */
function openHold(number: number, marks: Marks, worker: number, hold: SynHold) {
  const values: Readonly<Record<Exclude<SynVerdict, "drop">, number | undefined>> = {
    release: marks.workers[worker],
    pass: undefined,
    reset: marks.refused,
    hostUnreachable: marks.hostUnreachable,
    netUnreachable: marks.netUnreachable,
  };
  const queue = openQueue({
    number,
    onPacket({ id, payload, mark }) {
      const syn = readSyn(payload);
      if (!syn) return queue.verdict(id, "accept");
      const decide = (verdict: SynVerdict) => {
        if (verdict === "drop") return queue.verdict(id, "drop");
        const value = values[verdict];
        if (value === undefined) return queue.verdict(id, "accept");
        // The other bits of the mark are somebody else's.
        return queue.verdict(id, "accept", ((mark & ~marks.mask) | value) >>> 0);
      };
      return hold.hold({ source: syn.source, destination: syn.destination, sequence: syn.sequence, decide });
    },
    // The kernel lets SYNs pass unheld when nobody reads the queue.
    onError: () => {},
  });
  return queue;
}

/**
 * A connection that the kernel took out of the path for us: it was meant for `to`, which is what the accepted socket
 * calls its own address. The client believes it talks to the server already.
 */
function arriveInline(
  client: End,
  from: Endpoint,
  to: Endpoint,
  listener: InlineListener,
  connect: ConnectFrom,
): Arrival {
  return {
    listener: listener.name,
    mode: "inline",
    from,
    client,
    locate: async () => ({ host: to.address, port: to.port, connectHost: null, http: undefined }),
    dial: ([address = to.address], port) => connect(from, { address, port }),
    welcome: async () => client,
    refuse: () => client.reset(),
  };
}
