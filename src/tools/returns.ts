import type { Socket } from "node:net";
import type { End } from "../engine/end.ts";
import type { Loop } from "../engine/loop.ts";
import { fromNodeSocket, stopReading, toNodeSocket } from "../engine/node-socket.ts";
import { NetworkError } from "../errors.ts";
import { createRendezvous } from "./rendezvous.ts";

/**
 * Connections that come back from proxy tools. Every worker listens at a tool's return address, so a connection may arrive at a
 * worker that does not have its session. The supervisor knows which worker awaits which connection, and passes it on.
 */

/** A session that awaits its connection back from a tool. */
export interface AwaitedReturn {
  /** Takes the connection over. Nothing has been read of it but its header. */
  take(back: End): void;
}

/** A worker's messages to the supervisor. */
export type ReturnsFromWorker =
  /** The supervisor answers "expected". */
  | { readonly kind: "expect"; readonly request: number; readonly keys: readonly string[] }
  | { readonly kind: "forget"; readonly keys: readonly string[] }
  | { readonly kind: "whose"; readonly request: number; readonly keys: readonly string[] }
  /** The connection is sent along. */
  | { readonly kind: "hand over"; readonly to: Owner; readonly keys: readonly string[] };

/** The supervisor's messages to a worker. */
export type ReturnsToWorker =
  | { readonly kind: "expected"; readonly request: number }
  | { readonly kind: "owner"; readonly request: number; readonly owner: Owner | undefined }
  | { readonly kind: "handed over"; readonly keys: readonly string[] };

/** A worker by its number, or the supervisor, which sends the heartbeats. */
type Owner = number | "heartbeat";

export interface Returns {
  /**
   * `keys`: everything by which the connection back can be recognised. Resolves once every worker can find the session: a
   * connection that comes earlier belongs to none.
   */
  expect(awaited: AwaitedReturn, keys: readonly string[]): Promise<void>;
  forget(awaited: AwaitedReturn, keys: readonly string[]): void;
  /**
   * Gives a connection to the session that awaits it, here or at another worker. The first of `keys` that exactly one session has
   * decides. false: no session awaits it, and it was closed.
   */
  give(back: End, keys: readonly string[]): Promise<boolean>;
  /** Whether a session of any worker awaits its connection at a port of its own, this one. */
  readonly awaitsPort: (port: number) => Promise<boolean>;
  hear(message: ReturnsToWorker, socket: Socket | undefined): void;
}

type Tell = (message: ReturnsFromWorker, socket?: Socket) => Promise<void>;

/** The key of a session that has a port of its own. */
export function portKey(port: number): string {
  return `port ${port}`;
}

/** A worker's part. `alone`: there are no other workers. */
export function createReturns(loop: Loop, alone: boolean, tell: Tell): Returns {
  const waiting = createRendezvous<AwaitedReturn>();
  const requests = createRequests(tell);
  const owner = async (keys: readonly string[]) => waiting.find(keys) ?? (await requests.ask("whose", keys));
  return {
    async expect(awaited, keys) {
      waiting.expect(awaited, keys);
      // A copy: the caller may add keys while the message waits behind a connection that is being sent.
      if (!alone) await requests.ask("expect", [...keys]);
    },
    forget(awaited, keys) {
      waiting.forget(awaited, keys);
      if (!alone) void tell({ kind: "forget", keys: [...keys] });
    },
    async give(back, keys) {
      const found = await owner(keys);
      if (typeof found === "object") {
        found.take(back);
        return true;
      }
      if (found === undefined || !back.isOpen) {
        back.close();
        return found !== undefined;
      }
      await tell({ kind: "hand over", to: found, keys }, toNodeSocket(back));
      return true;
    },
    awaitsPort: async (port) => (await owner([portKey(port)])) !== undefined,
    hear(message, socket) {
      if (message.kind === "owner") return requests.answer(message.request, message.owner);
      if (message.kind === "expected") return requests.answer(message.request, undefined);
      const back = socket && receive(loop, socket);
      if (!back) return;
      const awaited = waiting.find(message.keys);
      if (awaited) awaited.take(back);
      else back.close();
    },
  };
}

/** Undefined: the connection was closed on its way. */
function receive(loop: Loop, socket: Socket): End | undefined {
  try {
    return fromNodeSocket(loop, socket);
  } catch (error) {
    if (error instanceof NetworkError) return undefined;
    throw error;
  }
}

/** Questions to the supervisor, and its answers. */
function createRequests(tell: Tell) {
  const pending = new Map<number, (owner: Owner | undefined) => void>();
  let last = 0;
  return {
    ask: (kind: "whose" | "expect", keys: readonly string[]) =>
      new Promise<Owner | undefined>((resolve) => {
        last += 1;
        pending.set(last, resolve);
        void tell({ kind, request: last, keys });
      }),
    answer(request: number, owner: Owner | undefined): void {
      pending.get(request)?.(owner);
      pending.delete(request);
    },
  };
}

/** The supervisor's part. */
export interface ReturnsDirectory {
  hear(message: ReturnsFromWorker, worker: number, socket: Socket | undefined): void;
  /** The supervisor sends a heartbeat. If the tool connects back for it, the connection is no stranger: `awaited` takes it. */
  expectHeartbeat(awaited: AwaitedReturn, keys: readonly string[]): void;
  forgetHeartbeat(awaited: AwaitedReturn, keys: readonly string[]): void;
  /** A worker has died, and its sessions with it. */
  leave(worker: number): void;
}

/** `send` sends a connection along with the message, and closes it here when it has arrived. */
export function createReturnsDirectory(
  loop: Loop,
  send: (worker: number, message: ReturnsToWorker, socket?: Socket) => void,
): ReturnsDirectory {
  const waiting = createRendezvous<number | AwaitedReturn>();
  return {
    hear(message, worker, socket) {
      switch (message.kind) {
        case "expect":
          waiting.expect(worker, message.keys);
          send(worker, { kind: "expected", request: message.request });
          break;
        case "forget":
          waiting.forget(worker, message.keys);
          break;
        case "whose":
          send(worker, { kind: "owner", request: message.request, owner: nameOf(waiting.find(message.keys)) });
          break;
        case "hand over":
          if (!socket) break;
          stopReading(socket);
          if (message.to === "heartbeat") {
            takeHeartbeat(waiting.find(message.keys), receive(loop, socket));
            break;
          }
          send(message.to, { kind: "handed over", keys: message.keys }, socket);
      }
    },
    expectHeartbeat: (awaited, keys) => waiting.expect(awaited, keys),
    forgetHeartbeat: (awaited, keys) => waiting.forget(awaited, keys),
    leave: (worker) => waiting.leave(worker),
  };
}

/** A heartbeat is the supervisor's, whichever it is. */
function nameOf(owner: number | AwaitedReturn | undefined): Owner | undefined {
  return typeof owner === "object" ? "heartbeat" : owner;
}

/** A heartbeat that has ended meanwhile takes nothing. */
function takeHeartbeat(owner: number | AwaitedReturn | undefined, back: End | undefined): void {
  if (typeof owner === "object" && back) owner.take(back);
  else back?.close();
}
