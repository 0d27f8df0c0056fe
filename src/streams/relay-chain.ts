import type { End } from "../engine/end.ts";
import { type HeldEnd, type Meter, type RelayEnding, type RelayOptions, relay, type Sieve } from "../engine/relay.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";

/** One tool between the ends: what comes from the client goes in at `ta` and comes out at `tb`. */
export interface RelayHop {
  readonly tool: string;
  readonly ta: End;
  /** Rejects when what went in never came out. */
  readonly tb: Promise<End>;
  readonly sieve?: Sieve | undefined;
}

/**
 * ms that a tool has to tell the client why, after the server's side broke: it may answer by itself, with a page that says
 * what it has blocked.
 */
const ANSWER = 5_000;
/** ms that a client has to read what a tool has said before it left. */
const GRACE = 1_000;
/** ms within which the connections of a program that was killed end one after the other, and the news of it arrive. */
const MOMENT = 250;

/**
 * Carries bytes between two ends through tools, in order: client, Ta, tool, Tb, …, server. Each stretch is a relay of its own,
 * begun as soon as its two ends are there, so that a tool which connects only once it has read something gets to read it.
 * Half-closes pass through the tools themselves, and an end that a tool has made passes without close_notify. A reset is carried to all
 * stretches, for a tool need not pass it on. Taps see the client's stretch: what the client said and what it was told.
 */
export function relayThrough(
  client: End,
  hops: readonly RelayHop[],
  server: End,
  {
    meter,
    taps,
    idle,
    idleCounts = "bytes",
    patience = ANSWER,
  }: Omit<RelayOptions, "parties" | "sieves"> & { readonly patience?: number },
): Promise<RelayEnding> {
  if (hops.length === 0) return relay(client, server, { meter, taps, idle, idleCounts });
  const last = hops.length;
  const ends = Array.from({ length: last + 1 }, (): Partial<Record<"from" | "to", End>> => ({}));
  const partings: (RelayEnding | undefined)[] = Array.from({ length: last + 1 });
  let first: RelayEnding | undefined;
  const truncated = new Set<Side>();
  let broken = false;
  let late: NodeJS.Timeout | undefined;
  /** The stretches that have heard the end of each side, as its peer or the tools before said it. */
  const heard: Readonly<Record<Side, Set<number>>> = { client: new Set(), server: new Set() };
  /** Peers whose connections tools have ended by themselves. */
  const told: Record<Side, boolean> = { client: false, server: false };
  /** When the stretch at the server was over, by performance.now(). */
  let farOver = Number.POSITIVE_INFINITY;
  const meters: Meter[] = [];
  /** What the session's end is called when a tool ended it; undefined: none did. */
  let ownEnd: string | undefined;
  /** Lets ends pass that wait because a tool has left something out, by the stretch that tells whether it lives. */
  const short = new Map<number, () => void>();
  /** The end of the server's side that waits, and what it waits for. */
  let waiting: PromiseWithResolvers<void> | undefined;
  /**
   * A tool may end what it has not heard the end of: it was killed, or it answers by itself. If that looked like the end of what the server
   * has begun to say, a cut answer would look complete. So the client is told only when the server's side is over: a session that the tool
   * has left on both sides is reset, after a moment for what the tool may have said itself.
   */
  const earlyEnd = (index: number, side: Side): HeldEnd | undefined => {
    const [behind, tool] = side === "client" ? [index - 1, hops[index - 1]] : [index + 1, hops[index]];
    if (!tool || heard[side].has(behind)) {
      // A peer answers the end that a tool has made with its own.
      if (!told[side]) heard[side].add(index);
      return tool && shortEnd(index, behind, side);
    }
    const until = ownEndOf(index, side, tool);
    return until && { until, isEarly: true };
  };
  const ownEndOf = (index: number, side: Side, { tool }: RelayHop): Promise<void> | undefined => {
    told[side === "client" ? "server" : "client"] = true;
    if (side === "client") return meter.fromClient > 0 ? Promise.resolve() : undefined;
    if (!broken && !heard.client.has(0) && !heard.server.has(last))
      ownEnd ??= `The tool ${tool} ended the session by itself`;
    // An answer of the tool's own, in the place of the server's.
    if (meter.fromServer === 0 && (meters[index]?.fromServer ?? 0) > 0) return undefined;
    // One that was killed leaves both sides at once.
    if (heard.client.has(0) || performance.now() - farOver > GRACE) return Promise.resolve();
    if (!waiting) {
      waiting = Promise.withResolvers();
      if (broken || partings[last]) settle(broken ? 0 : GRACE);
      else late = setTimeout(waiting.resolve, patience);
    }
    return waiting.promise;
  };
  /**
   * A tool that has heard the end and passes on less than it was given may have been killed with the rest unread. The kernel resets the
   * connection on which that came, at about the same time: if the end were told before, a cut answer would look complete.
   */
  const shortEnd = (index: number, behind: number, side: Side): HeldEnd | undefined => {
    const [near, far] = [meters[index]!, meters[behind]!];
    const isShort = side === "client" ? near.fromClient < far.toServer : near.fromServer < far.toClient;
    if (!isShort || (partings[behind] && !broken)) return undefined;
    const { promise: until, resolve } = Promise.withResolvers<void>();
    const pass = () => {
      if (short.get(behind) === pass) short.delete(behind);
      resolve();
    };
    short.set(behind, pass);
    if (broken) settle(0);
    else setTimeout(() => broken || pass(), MOMENT);
    return { until, isEarly: false };
  };
  const cut = (stretches: readonly number[]) => {
    for (const index of stretches) {
      if (partings[index]) continue;
      for (const end of Object.values(ends[index]!)) end.reset();
    }
  };
  const settle = (after: number) => {
    clearTimeout(late);
    late = setTimeout(() => cut(partings.keys().toArray()), Math.min(after, patience));
  };

  return new Promise((resolve, reject) => {
    const over = (index: number, parting: RelayEnding) => {
      partings[index] = parting;
      if (index === last) farOver = performance.now();
      // An orderly end is not why another stretch broke.
      if (!first || (isBroken(parting) && !isBroken(first))) first = parting;
      if (partings.every((one) => one !== undefined)) {
        clearTimeout(late);
        resolve(conclude(first, partings as RelayEnding[], ownEnd));
        return;
      }
      if (!isBroken(parting)) {
        short.get(index)?.();
        if (waiting && index === last) settle(GRACE);
        return;
      }
      if (broken) return;
      broken = true;
      // Nothing that the server still says reaches the client, but the tools before the break may have an answer of their own.
      const behind = partings.keys().filter((other) => other > index);
      cut(behind.toArray());
      settle(waiting || short.size > 0 ? 0 : patience);
    };
    /** A bug of ours in one stretch ends all of them. */
    const fail = (error: unknown) => {
      broken = true;
      clearTimeout(late);
      cut(partings.keys().toArray());
      reject(error);
    };
    const begin = (index: number, from: End, to: End, sieve?: Sieve) => {
      ends[index] = { from, to };
      const parties = {
        client: index === 0 ? "The client" : `The tool ${hops[index - 1]!.tool}`,
        server: index === last ? "The server" : `The tool ${hops[index]!.tool}`,
      };
      meters[index] = meterOf(meter, index === 0, index === last);
      const options = {
        meter: meters[index],
        taps: index === 0 ? taps : [],
        ...{ idle, idleCounts },
        parties,
        truncated,
        early: (side: Side) => earlyEnd(index, side),
        ...(sieve && { sieves: { client: sieve } }),
      };
      relay(from, to, options).then((parting) => over(index, parting), fail);
      // It came back after another stretch had broken.
      if (broken) cut([index]);
    };

    begin(0, client, hops[0]!.ta);
    for (const [index, { tb, sieve }] of hops.entries()) {
      const to = index + 1 === last ? server : hops[index + 1]!.ta;
      ends[index + 1] = { to };
      tb.then(
        (back) => begin(index + 1, back, to, sieve),
        (error: Error) => {
          to.reset();
          const parting = { reason: error.message, clientLeft: null, serverLeft: null, first: undefined };
          const code = error instanceof NetworkError ? error.code : "ECONNRESET";
          over(index + 1, { ...parting, failure: { side: "client", code, alert: undefined } });
        },
      );
    }
  });
}

function isBroken({ failure, clientLeft, serverLeft }: RelayEnding): boolean {
  return failure !== undefined || clientLeft !== "closed" || serverLeft !== "closed";
}

/** What happened first is the cause; who left and how is told by the stretches that the two peers are on. */
function conclude(earliest: RelayEnding, partings: readonly RelayEnding[], ownEnd: string | undefined): RelayEnding {
  const [near, far] = [partings[0]!, partings.at(-1)!];
  const { clientLeft } = near;
  const { serverLeft } = far;
  const ends = { clientLeft, serverLeft };
  if (near.failure?.side === "client") return { ...earliest, ...ends, failure: near.failure };
  if (far.failure?.side === "server") return { ...earliest, ...ends, failure: far.failure };
  if (ownEnd) return { reason: ownEnd, ...ends, first: undefined, failure: undefined, cut: "ETOOLEND" };
  // A tool broke it, unless something else cut it: the idle time, say.
  if (partings.some(isBroken)) return { ...earliest, ...ends, failure: undefined, cut: earliest.cut ?? "ETOOLEND" };
  // The peer that left first was followed by the tools one after the other.
  const { reason, first } = near.first === "server" && far.first === "server" ? far : near;
  return { reason, ...ends, first, failure: undefined };
}

/** The stretches at the two ends count what their peers send and get; what passes between two tools is counted by none. */
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
