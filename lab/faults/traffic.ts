import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { DOMAIN } from "../../test/pki.ts";
import { pause, until } from "../../test/processes.ts";
import { type Download, hashOf } from "./origin.ts";

/** One session of the traffic. Times are ms of `performance.now`. */
export interface Visit {
  readonly port: number;
  readonly start: number;
  readonly end: number;
  /** Why it is not whole; undefined if each byte came. */
  readonly error: string | undefined;
}

export interface Way {
  /** Connects to the origin, through the node. */
  dial(): Promise<Socket>;
  /** The CAs that clients trust, PEM. */
  trusted(): string;
}

export interface Traffic extends AsyncDisposable {
  /** Short sessions that have ended, in the order of their ends. */
  readonly visits: readonly Visit[];
  /** Long downloads that have ended. */
  readonly downloads: readonly Visit[];
  /** The clients' ports of the downloads that run and of the idle sessions. */
  downloading(): readonly number[];
  readonly idle: readonly Idle[];
  /** Resolves with the short sessions that began after `since`, once `count` of them are whole. */
  whole(count: number, since: number): Promise<readonly Visit[]>;
  /** Resolves with the downloads that run now, once they have ended. */
  finish(): Promise<readonly Visit[]>;
}

/** A session that stays open and says nothing until it is asked. */
export interface Idle {
  readonly port: number;
  /** Sends a request. Resolves with whether its whole answer came. */
  answers(): Promise<boolean>;
}

export interface Plan {
  /** Short sessions that are begun each second. */
  readonly rate?: number;
  readonly downloads?: number;
  readonly idle?: number;
  readonly long?: Download;
  /** ms that a session may be without a byte. */
  readonly patience?: number;
}

const SHORT: Download = { chunks: 1, every: 0 };
const LONG: Download = { chunks: 40, every: 100 };

/**
 * Starts clients of these ways in turn: new sessions at a steady rate, each with a small download; long downloads, one after another;
 * and idle sessions. Resolves once all downloads and idle sessions are open.
 */
export async function startTraffic(ways: readonly Way[], plan: Plan = {}): Promise<Traffic> {
  const { rate = 20, downloads: count = 6, idle: idling = 6, long = LONG, patience = 15_000 } = plan;
  const [visits, downloads]: [Visit[], Visit[]] = [[], []];
  const [short, running] = [new Set<Promise<void>>(), new Map<number, Promise<Visit>>()];
  let [on, turn] = [true, 0];
  const way = () => ways[turn++ % ways.length]!;

  const timer = setInterval(() => {
    const one: Promise<void> = visit(way(), SHORT, patience).then((ended) => {
      visits.push(ended);
      short.delete(one);
    });
    short.add(one);
  }, 1000 / rate);
  const long_ = Array.from({ length: count }, async () => {
    while (on) {
      let own = 0;
      const opened = (port: number) => {
        own = port;
        running.set(port, download);
      };
      const download: Promise<Visit> = visit(way(), long, patience, opened);
      const ended = await download;
      running.delete(own);
      downloads.push(ended);
      if (ended.error !== undefined) await pause(50);
    }
  });
  const stop = async () => {
    on = false;
    clearInterval(timer);
    for (const socket of open) socket.destroy();
    await Promise.all([...short, ...long_]);
  };
  try {
    const idle = await Promise.all(Array.from({ length: idling }, () => openIdle(way(), patience)));
    await until("all downloads under way", () => running.size === count);
    return {
      visits,
      downloads,
      idle,
      downloading: () => [...running.keys()],
      whole: (wanted, since) =>
        until(`${wanted} whole new sessions`, () => {
          const found = visits.filter(({ start }) => start >= since);
          return found.filter(({ error }) => error === undefined).length >= wanted && found;
        }),
      finish: () => Promise.all(running.values()),
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The sockets of all clients, which the end of the traffic closes. */
const open = new Set<TLSSocket>();

async function visit(way: Way, what: Download, patience: number, opened?: (port: number) => void): Promise<Visit> {
  const start = performance.now();
  let port = 0;
  const error = await (async () => {
    const socket = await secure(way, patience);
    port = socket.localPort ?? 0;
    opened?.(port);
    try {
      await download(socket, what);
    } finally {
      socket.destroy();
    }
  })().then(
    () => undefined,
    (reason: NodeJS.ErrnoException) => reason.code ?? reason.message,
  );
  return { port, start, end: performance.now(), error };
}

async function openIdle(way: Way, patience: number): Promise<Idle> {
  const socket = await secure(way, 0);
  const answers = () => {
    socket.setTimeout(patience, () => socket.destroy());
    return download(socket, SHORT).then(
      () => true,
      () => false,
    );
  };
  return { port: socket.localPort ?? 0, answers };
}

async function secure({ dial, trusted }: Way, patience: number): Promise<TLSSocket> {
  const socket = await dial();
  const tls = connect({ socket, servername: `faults.${DOMAIN}`, ca: trusted() });
  open.add(tls);
  tls.on("error", () => socket.destroy()).on("close", () => open.delete(tls));
  tls.setTimeout(patience, () => tls.destroy(Object.assign(new Error("no byte for too long"), { code: "ETIMEDOUT" })));
  await new Promise<void>((resolve, reject) => {
    tls.once("secureConnect", resolve).once("error", reject);
    tls.once("close", () => reject(new Error("closed in the handshake")));
  });
  return tls;
}

/** Sends a request, and reads its whole answer. Rejects when a byte is missing or wrong. */
function download(socket: TLSSocket, what: Download): Promise<void> {
  const hash = createHash("sha256");
  return new Promise((resolve, reject) => {
    let [head, left] = [Buffer.alloc(0), -1];
    const settle = (error?: Error) => {
      socket.off("data", take).off("error", settle).off("end", cut).off("close", cut);
      if (error) reject(error);
      else resolve();
    };
    const cut = () => settle(Object.assign(new Error("cut short"), { code: "cut short" }));
    const take = (bytes: Buffer) => {
      let body = bytes;
      if (left < 0) {
        head = Buffer.concat([head, bytes]);
        const end = head.indexOf("\r\n\r\n");
        if (end < 0) return;
        left = Number(/^content-length: (\d+)/im.exec(head.toString("latin1", 0, end))?.[1]);
        body = head.subarray(end + 4);
      }
      left -= body.length;
      hash.update(body);
      if (left > 0) return;
      const isRight = left === 0 && hash.digest("hex") === hashOf(what);
      settle(isRight ? undefined : new Error("other bytes than the server sent"));
    };
    socket.on("data", take).on("error", settle).on("end", cut).on("close", cut);
    if (socket.destroyed) return cut();
    socket.write(`GET /${what.chunks}/${what.every} HTTP/1.1\r\nHost: faults.${DOMAIN}\r\n\r\n`);
  });
}

/** "2 of 140 new sessions failed (ECONNRESET), p99 80 ms" */
export function describe(visits: readonly Visit[]): string {
  const failed = visits.filter(({ error }) => error !== undefined);
  const times = visits.filter(({ error }) => error === undefined).map(({ start, end }) => end - start);
  times.sort((a, b) => a - b);
  const p99 = times[Math.floor(times.length * 0.99)] ?? Number.NaN;
  const errors = failed.length > 0 ? ` (${[...new Set(failed.map(({ error }) => error))].join(", ")})` : "";
  return `${failed.length} of ${visits.length} new sessions failed${errors}, p99 ${p99.toFixed(0)} ms`;
}
