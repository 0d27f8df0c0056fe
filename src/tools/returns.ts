import type { Socket } from "node:net";
import { createRendezvous } from "./rendezvous.ts";

/**
 * Connections that come back from proxy tools. Every worker listens at a tool's return address, so a connection may arrive at a
 * worker that does not have its session. The supervisor knows which worker awaits which connection, and passes it on.
 */

/** A session that awaits its connection back from a tool. */
export interface AwaitedReturn {
  /** Takes the connection over: paused, with the bytes that were read of it put back. */
  take(socket: Socket): void;
}

/** A worker's messages to the supervisor. */
export type ReturnsFromWorker =
  | { readonly kind: "expect"; readonly keys: readonly string[] }
  | { readonly kind: "forget"; readonly keys: readonly string[] }
  | { readonly kind: "whose"; readonly request: number; readonly keys: readonly string[] }
  /** The connection is sent along. `head`: the bytes of the session that were read of it. */
  | { readonly kind: "hand over"; readonly to: number; readonly keys: readonly string[]; readonly head: Uint8Array };

/** The supervisor's messages to a worker. */
export type ReturnsToWorker =
  | { readonly kind: "owner"; readonly request: number; readonly owner: Owner | undefined }
  | { readonly kind: "handed over"; readonly keys: readonly string[]; readonly head: Uint8Array };

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
  give(socket: Socket, head: Buffer, keys: readonly string[]): Promise<boolean>;
  hear(message: ReturnsToWorker, socket: Socket | undefined): void;
}

/** ms for a worker's "expect" to reach the supervisor. */
const PATIENCE = 1_000;

type Tell = (message: ReturnsFromWorker, socket?: Socket) => Promise<void>;

/** A worker's part. `alone`: there are no other workers. */
export function createReturns(alone: boolean, tell: Tell): Returns {
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
    async give(socket, head, keys) {
      const own = waiting.find(keys);
      if (own) return hand(own, socket, head);
      const found = await firstOf([waiting.await(keys), owners.ask(keys)]);
      if (typeof found === "object") return hand(found, socket, head);
      if (found === undefined || found === "heartbeat" || socket.destroyed) {
        socket.destroy();
        return found !== undefined;
      }
      const rest = detach(socket);
      await tell({ kind: "hand over", to: found, keys, head: Buffer.concat([head, rest]) }, socket);
      return true;
    },
    hear(message, socket) {
      if (message.kind === "owner") return owners.answer(message.request, message.owner);
      if (!socket) return;
      socket.on("error", () => {});
      socket.setNoDelay(true);
      socket.allowHalfOpen = true;
      const awaited = waiting.find(message.keys);
      if (awaited) hand(awaited, socket, message.head);
      else socket.destroy();
    },
  };
}

function hand(awaited: AwaitedReturn, socket: Socket, head: Uint8Array): true {
  socket.pause();
  if (head.length > 0) socket.unshift(head);
  awaited.take(socket);
  return true;
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
          socket.on("error", () => {});
          detach(socket);
          send(message.to, { kind: "handed over", keys: message.keys, head: message.head }, socket);
      }
    },
    expectHeartbeat: (keys) => waiting.expect("heartbeat", keys),
    forgetHeartbeat: (keys) => waiting.forget("heartbeat", keys),
    leave: (worker) => waiting.leave(worker),
  };
}

/**
 * Prepares a socket for being sent to another process, and returns the bytes that were already read. Node has no public way to do
 * this: a paused socket may still read, those bytes would be lost, and both processes would count the socket among its server's.
 */
function detach(socket: Socket): Buffer {
  const inner = socket as unknown as { readonly _handle: { readStop(): void } | null; server: unknown };
  const parts: Buffer[] = [];
  for (let part: Buffer | null = socket.read(); part !== null; part = socket.read()) parts.push(part);
  // read() has started reading again.
  inner._handle?.readStop();
  inner.server = null;
  return Buffer.concat(parts);
}
