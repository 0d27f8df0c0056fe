import type { Socket } from "node:net";
import { abort, type Meter, type RelayEnd, type RelayEnding, type RelayOptions, relay, type Sieve } from "./relay.ts";

/** One tool between the ends. The client's bytes go in at `ta` and come out at `tb`; the server's go the other way. */
export interface RelayHop {
  readonly tool: string;
  readonly ta: Socket;
  /** Rejects when the connection does not come back from the tool. */
  readonly tb: Promise<Socket>;
  readonly sieve?: Sieve | undefined;
}

/**
 * ms that tools have to answer the client after the server's side broke: a tool that blocks a session may send a page that
 * says why.
 */
const ANSWER_TIME = 5_000;

/**
 * Carries bytes between two ends through tools, in order: client, Ta, tool, Tb, …, server. Each stretch is a relay of its
 * own, and begins as soon as its two ends are connected: a tool may connect at Tb only after it has read something at Ta.
 * Half-closes pass through the tools themselves. A reset is passed on to all stretches, because a tool may not do so. Taps
 * are on the client's stretch: they see what the client sent and received.
 */
export function relayThrough(
  client: RelayEnd,
  hops: readonly RelayHop[],
  server: RelayEnd,
  { meter, taps, idle, answerTime = ANSWER_TIME }: Omit<RelayOptions, "parties"> & { readonly answerTime?: number },
): Promise<RelayEnding> {
  if (hops.length === 0) return relay(client, server, { meter, taps, idle });
  const last = hops.length;
  const ends = Array.from({ length: last + 1 }, (): Partial<Record<"from" | "to", RelayEnd>> => ({}));
  const endings: (RelayEnding | undefined)[] = Array.from({ length: last + 1 });
  let first: RelayEnding | undefined;
  let broken = false;
  let late: NodeJS.Timeout | undefined;

  return new Promise((resolve) => {
    const cut = (stretches: readonly number[]) => {
      for (const index of stretches) {
        if (endings[index]) continue;
        for (const end of Object.values(ends[index]!)) if (!end.socket.destroyed) abort(end);
      }
    };
    const over = (index: number, ending: RelayEnding) => {
      endings[index] = ending;
      first ??= ending;
      if (endings.every((one) => one !== undefined)) {
        clearTimeout(late);
        resolve(conclude(first, endings as RelayEnding[]));
        return;
      }
      if (!isBroken(ending) || broken) return;
      broken = true;
      const all = endings.keys().toArray();
      // Nothing from the server reaches the client any more, but the tools before the break may have an answer of their own.
      cut(all.filter((other) => other > index));
      late = setTimeout(() => cut(all), answerTime);
    };
    const begin = (index: number, from: RelayEnd, to: RelayEnd) => {
      ends[index] = { from, to };
      const parties = {
        client: index === 0 ? "The client" : `The tool ${hops[index - 1]!.tool}`,
        server: index === last ? "The server" : `The tool ${hops[index]!.tool}`,
      };
      const options = {
        meter: meterOf(meter, index === 0, index === last),
        taps: index === 0 ? taps : [],
        idle,
        parties,
      };
      void relay(from, to, options).then((ending) => over(index, ending));
      // This stretch was connected after another one had broken.
      if (broken) cut([index]);
    };

    begin(0, client, endOf(hops[0]!.ta));
    for (const [index, { tb, sieve }] of hops.entries()) {
      const to = index + 1 === last ? server : endOf(hops[index + 1]!.ta);
      ends[index + 1] = { to };
      tb.then(
        (socket) => begin(index + 1, { ...endOf(socket), sieve }, to),
        (error: Error) => {
          if (!to.socket.destroyed) abort(to);
          const ending = { reason: error.message, clientLeft: null, serverLeft: null, first: undefined };
          over(index + 1, { ...ending, failure: { side: "client", error } });
        },
      );
    }
  });
}

function isBroken({ failure, clientLeft, serverLeft }: RelayEnding): boolean {
  return failure !== undefined || clientLeft !== "closed" || serverLeft !== "closed";
}

/** The first ending has the cause. How the two peers left is known from the stretches that they are on. */
function conclude(earliest: RelayEnding, endings: readonly RelayEnding[]): RelayEnding {
  const [near, far] = [endings[0]!, endings.at(-1)!];
  const { clientLeft } = near;
  const { serverLeft } = far;
  const ends = { clientLeft, serverLeft };
  if (near.failure?.side === "client") return { ...earliest, ...ends, failure: near.failure };
  if (far.failure?.side === "server") return { ...earliest, ...ends, failure: far.failure };
  if (endings.some(isBroken)) return { ...earliest, ...ends, failure: undefined };
  // The half-close of the peer that left first passed the tools one after the other.
  const { reason, first } = near.first === "server" && far.first === "server" ? far : near;
  return { reason, ...ends, first, failure: undefined };
}

function endOf(socket: Socket): RelayEnd {
  return { stream: socket, socket };
}

/** The two outer stretches count the bytes of their peers. Bytes between two tools are not counted. */
function meterOf(meter: Meter, near: boolean, far: boolean): Meter {
  const own: Meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const share = (name: keyof Meter) =>
    Object.defineProperty(own, name, {
      get: () => meter[name],
      set: (value: number) => {
        meter[name] = value;
      },
    });
  if (near) for (const name of ["fromClient", "toClient"] as const) share(name);
  if (far) for (const name of ["fromServer", "toServer"] as const) share(name);
  return own;
}
