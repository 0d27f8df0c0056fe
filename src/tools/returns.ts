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
  | { readonly kind: "expect"; readonly keys: readonly string[] }
  | { readonly kind: "forget"; readonly keys: readonly string[] }
  | { readonly kind: "whose"; readonly request: number; readonly keys: readonly string[] }
  /** The connection is sent along. */
  | { readonly kind: "hand over"; readonly to: number; readonly keys: readonly string[] };

/** The supervisor's messages to a worker. */
export type ReturnsToWorker =
  | { readonly kind: "owner"; readonly request: number; readonly owner: Owner | undefined }
  | { readonly kind: "handed over"; readonly keys: readonly string[] };

/** A worker by its number, or the supervisor, which sends the heartbeats. */
type Owner = number | "heartbeat";

export interface Returns {
  /** `keys`: everything by which the connection back can be recognised. */
  expect(awaited: AwaitedReturn, keys: readonly string[]): void;
  forget(awaited: AwaitedReturn, keys: readonly string[]): void;
  /**
   * Gives a connection to the session that awaits it, here or at another worker. The first of `keys` that exactly one session has
   * decides. false: no session awaits it, and it was closed.
   */
  give(back: End, keys: readonly string[]): Promise<boolean>;
  hear(message: ReturnsToWorker, socket: Socket | undefined): void;
}

/** ms for a worker's "expect" to reach the supervisor. */
const PATIENCE = 1_000;

type Tell = (message: ReturnsFromWorker, socket?: Socket) => Promise<void>;

/** A worker's part. `alone`: there are no other workers. */
export function createReturns(loop: Loop, alone: boolean, tell: Tell): Returns {
  const waiting = createRendezvous<AwaitedReturn>(PATIENCE);
  const owners = createOwnerRequests(tell);
  return {
    expect(awaited, keys) {
      waiting.expect(awaited, keys);
      // A copy: the caller may add keys while the message waits behind a connection that is being sent.
      if (!alone) void tell({ kind: "expect", keys: [...keys] });
    },
    forget(awaited, keys) {
      waiting.forget(awaited, keys);
      if (!alone) void tell({ kind: "forget", keys: [...keys] });
    },
    async give(back, keys) {
      const found = waiting.find(keys) ?? (await firstOf([waiting.await(keys), owners.ask(keys)]));
      if (typeof found === "object") {
        found.take(back);
        return true;
      }
      if (found === undefined || found === "heartbeat" || !back.isOpen) {
        back.close();
        return found !== undefined;
      }
      await tell({ kind: "hand over", to: found, keys }, toNodeSocket(back));
      return true;
    },
    hear(message, socket) {
      if (message.kind === "owner") return owners.answer(message.request, message.owner);
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

/** Asks the supervisor which worker awaits a connection. */
function createOwnerRequests(tell: Tell) {
  const pending = new Map<number, (owner: Owner | undefined) => void>();
  let last = 0;
  return {
    ask: (keys: readonly string[]) =>
      new Promise<Owner | undefined>((resolve) => {
        last += 1;
        pending.set(last, resolve);
        void tell({ kind: "whose", request: last, keys });
      }),
    answer(request: number, owner: Owner | undefined): void {
      pending.get(request)?.(owner);
      pending.delete(request);
    },
  };
}

/** The first of the two that is not undefined; undefined when both are. */
async function firstOf<A, B>([first, second]: readonly [Promise<A>, Promise<B>]): Promise<A | B> {
  const answer = await Promise.race([first, second]);
  if (answer !== undefined) return answer;
  return (await first) ?? (await second);
}

/** The supervisor's part. */
export interface ReturnsDirectory {
  hear(message: ReturnsFromWorker, worker: number, socket: Socket | undefined): void;
  /** The supervisor sends a heartbeat. If the tool connects back for it, the connection is no stranger. */
  expectHeartbeat(keys: readonly string[]): void;
  forgetHeartbeat(keys: readonly string[]): void;
  /** A worker has died, and its sessions with it. */
  leave(worker: number): void;
}

/** `send` sends a connection along with the message, and closes it here when it has arrived. */
export function createReturnsDirectory(
  send: (worker: number, message: ReturnsToWorker, socket?: Socket) => void,
): ReturnsDirectory {
  const waiting = createRendezvous<Owner>(PATIENCE);
  return {
    hear(message, worker, socket) {
      switch (message.kind) {
        case "expect":
          waiting.expect(worker, message.keys);
          break;
        case "forget":
          waiting.forget(worker, message.keys);
          break;
        case "whose": {
          const { request, keys } = message;
          void waiting.await(keys).then((owner) => send(worker, { kind: "owner", request, owner }));
          break;
        }
        case "hand over":
          if (!socket) break;
          stopReading(socket);
          send(message.to, { kind: "handed over", keys: message.keys }, socket);
      }
    },
    expectHeartbeat: (keys) => waiting.expect("heartbeat", keys),
    forgetHeartbeat: (keys) => waiting.forget("heartbeat", keys),
    leave: (worker) => waiting.leave(worker),
  };
}
