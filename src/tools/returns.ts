import type { Socket } from "node:net";
import { createRendezvous } from "./rendezvous.ts";

/**
 * What comes back from a proxy tool may arrive at another worker than the session's: every worker listens at the tool's
 * return address. The supervisor knows who awaits what, and passes the connection on.
 */

/** A session that waits for what it sent through a tool to come back. */
export interface AwaitedReturn {
  /** Takes the connection over: paused, what was read of it in its buffer. */
  take(socket: Socket): void;
}

/** What a worker says to the supervisor. */
export type ReturnsFromWorker =
  | { readonly kind: "expect"; readonly keys: readonly string[] }
  | { readonly kind: "forget"; readonly keys: readonly string[] }
  | { readonly kind: "whose"; readonly request: number; readonly keys: readonly string[] }
  /** The connection goes with it. `head`: what was read of it and is the session's. */
  | { readonly kind: "hand over"; readonly to: number; readonly keys: readonly string[]; readonly head: Uint8Array };

/** What the supervisor says to a worker. */
export type ReturnsToWorker =
  | { readonly kind: "owner"; readonly request: number; readonly owner: Owner | undefined }
  | { readonly kind: "handed over"; readonly keys: readonly string[]; readonly head: Uint8Array };

/** A worker's number, or the supervisor itself, which sends heartbeats through the tools. */
type Owner = number | "heartbeat";

export interface Returns {
  /** `keys`: what may come back to show whose it is. The first that is known to be one session's decides. */
  expect(awaited: AwaitedReturn, keys: readonly string[]): void;
  forget(awaited: AwaitedReturn, keys: readonly string[]): void;
  /** Gives a connection to whoever awaits it, here or at another worker. false: nobody does, and it was closed. */
  give(socket: Socket, head: Buffer, keys: readonly string[]): Promise<boolean>;
  hear(answer: ReturnsToWorker, socket: Socket | undefined): void;
}

/** ms in which word of a session that has just begun reaches the supervisor. */
const PATIENCE = 1_000;

/** A worker's part. `alone`: there are no other workers that a connection could arrive at. */
export function createReturns(
  alone: boolean,
  tell: (news: ReturnsFromWorker, socket?: Socket) => Promise<void>,
): Returns {
  const waiting = createRendezvous<AwaitedReturn>(PATIENCE);
  const asked = new Map<number, (owner: Owner | undefined) => void>();
  let last = 0;

  const ask = (keys: readonly string[]) =>
    new Promise<Owner | undefined>((resolve) => {
      last += 1;
      asked.set(last, resolve);
      void tell({ kind: "whose", request: last, keys });
    });
  const hand = (awaited: AwaitedReturn, socket: Socket, head: Uint8Array) => {
    socket.pause();
    if (head.length > 0) socket.unshift(head);
    awaited.take(socket);
    return true;
  };

  return {
    expect(awaited, keys) {
      waiting.expect(awaited, keys);
      // A message may wait for a connection that is on its way to the supervisor; the session's keys may become more meanwhile.
      if (!alone) void tell({ kind: "expect", keys: [...keys] });
    },
    forget(awaited, keys) {
      waiting.forget(awaited, keys);
      if (!alone) void tell({ kind: "forget", keys: [...keys] });
    },
    async give(socket, head, keys) {
      const own = waiting.find(keys);
      if (own) return hand(own, socket, head);
      const found = await firstOf([waiting.await(keys), ask(keys)]);
      if (typeof found === "object") return hand(found, socket, head);
      if (found === undefined || found === "heartbeat" || socket.destroyed) {
        socket.destroy();
        return found !== undefined;
      }
      const rest = detach(socket);
      await tell({ kind: "hand over", to: found, keys, head: Buffer.concat([head, rest]) }, socket);
      return true;
    },
    hear(answer, socket) {
      if (answer.kind === "owner") {
        asked.get(answer.request)?.(answer.owner);
        asked.delete(answer.request);
        return;
      }
      if (!socket) return;
      socket.on("error", () => {});
      socket.setNoDelay(true);
      socket.allowHalfOpen = true;
      const awaited = waiting.find(answer.keys);
      if (awaited) hand(awaited, socket, answer.head);
      else socket.destroy();
    },
  };
}

/** The first answer that says something; undefined when none does. */
async function firstOf<A, B>([first, second]: readonly [Promise<A>, Promise<B>]): Promise<A | B> {
  const answer = await Promise.race([first, second]);
  if (answer !== undefined) return answer;
  return (await first) ?? (await second);
}

/** The supervisor's part. */
export interface ReturnsDirectory {
  hear(news: ReturnsFromWorker, worker: number, socket: Socket | undefined): void;
  /** A heartbeat of the supervisor's own is under way; the tool may take it for a connection to be passed on. */
  expectHeartbeat(keys: readonly string[]): void;
  forgetHeartbeat(keys: readonly string[]): void;
  /** A worker died, and its sessions with it. */
  leave(worker: number): void;
}

/** `send` passes a connection on with the message; it is closed here once it is there. */
export function createReturnsDirectory(
  send: (worker: number, answer: ReturnsToWorker, socket?: Socket) => void,
): ReturnsDirectory {
  const waiting = createRendezvous<Owner>(PATIENCE);
  return {
    hear(news, worker, socket) {
      switch (news.kind) {
        case "expect":
          waiting.expect(worker, news.keys);
          break;
        case "forget":
          waiting.forget(worker, news.keys);
          break;
        case "whose": {
          const { request, keys } = news;
          void waiting.await(keys).then((owner) => send(worker, { kind: "owner", request, owner }));
          break;
        }
        case "hand over":
          if (!socket) break;
          socket.on("error", () => {});
          detach(socket);
          send(news.to, { kind: "handed over", keys: news.keys, head: news.head }, socket);
      }
    },
    expectHeartbeat: (keys) => waiting.expect("heartbeat", keys),
    forgetHeartbeat: (keys) => waiting.forget("heartbeat", keys),
    leave: (worker) => waiting.leave(worker),
  };
}

/**
 * Makes a socket ready to be sent to another process, and returns what it has read already. Node has no door to this: a
 * paused socket goes on reading, what it reads while it is sent is lost, and a server's socket is counted by both processes.
 */
function detach(socket: Socket): Buffer {
  const inner = socket as unknown as { readonly _handle: { readStop(): void } | null; server: unknown };
  const parts: Buffer[] = [];
  for (let part: Buffer | null = socket.read(); part !== null; part = socket.read()) parts.push(part);
  // read() has begun to read anew.
  inner._handle?.readStop();
  inner.server = null;
  return Buffer.concat(parts);
}
