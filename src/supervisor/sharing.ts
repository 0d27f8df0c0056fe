import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Config } from "../config/schema.ts";
import { type Fleet, openFleet, SHARED_CACHES, type SharedCache } from "../fleet/fleet.ts";
import { log } from "../log.ts";
import type { Minted, SharedCertificates } from "../pki/issue/mint.ts";
import { createSealer, deriveKey } from "../resumption/seal.ts";
import { createClientSessions } from "../resumption/session-caches.ts";
import { makeTicketKey, type TicketKeys, turnTicketKeys } from "../resumption/ticket-keys.ts";
import type { Session } from "../sessions/record.ts";
import type { SessionQuery } from "../sessions/search.ts";

/** What a node asks the others of a fleet, and what it is told. */
export interface FleetQuestion {
  readonly query: SessionQuery;
  readonly live: "true" | "false" | "all";
  readonly limit: number;
}
export interface FleetAnswer {
  readonly sessions: readonly Session[];
  readonly more: boolean;
}

/** What the workers of this node share through the supervisor, and with a store the nodes of a fleet. */
export interface Sharing {
  /** What workers seal sessions with. */
  readonly secret: Uint8Array;
  readonly ticketKeys: TicketKeys;
  /** A client's session, as a worker sealed it. */
  findSession(name: string): Promise<Uint8Array | undefined>;
  /** `until` in ms since the epoch. */
  putSession(name: string, sealed: Uint8Array, until: number): void;
  forgetSession(name: string): void;
  /** Where certificates are that other nodes issued; undefined: there are no other nodes. */
  readonly certificates: SharedCertificates | undefined;
  /** Undefined: this node shares nothing with others. */
  readonly fleet: Fleet<FleetQuestion, FleetAnswer> | undefined;
  /** With others: of all nodes. */
  flush(cache: SharedCache): Promise<void>;
  /** Sessions of clients that are kept here. */
  readonly size: number;
  close(): void;
}

export interface SharingOptions {
  readonly resumption: Config["resumption"];
  /** What all nodes of the fleet have and nobody else. Not used without a store. */
  readonly fleetSecret: () => Uint8Array;
  /** There are other ticket keys from now on. */
  onTicketKeys(keys: TicketKeys): void;
  /** Another node learnt that a server demands a client certificate until then, in ms since the epoch. */
  onLearned(server: string, until: number): void;
  /** What this node has learnt itself, as far as it still holds. */
  learned(): readonly (readonly [server: string, until: number])[];
  /** Another node has forgotten a client's session. */
  onForgotten(name: string): void;
  /** Another node's user flushed this cache. */
  onFlush(cache: SharedCache): void;
  answer(question: FleetQuestion): FleetAnswer;
}

export function openSharing(options: SharingOptions): Sharing {
  const { resumption } = options;
  const sessions = createClientSessions(resumption.sessions);
  const secret = resumption.shared === undefined ? randomBytes(32) : deriveKey(options.fleetSecret(), "sessions");
  let ticketKeys: TicketKeys = [makeTicketKey()];
  let turn: NodeJS.Timeout;

  const useKeys = (keys: TicketKeys) => {
    ticketKeys = keys;
    options.onTicketKeys(keys);
  };
  /** The fleet's keys of this time; alone, those that there are. */
  const meet = async () => {
    const shared = await fleet?.ticketKeys(Date.now());
    if (shared) useKeys(shared);
    return shared !== undefined;
  };
  /** All nodes turn at the same time, which their clocks tell them. */
  const turnLater = () => {
    const { ticketRotation } = resumption;
    turn = setTimeout(
      async () => {
        turnLater();
        if (!(await meet())) useKeys(turnTicketKeys(ticketKeys, makeTicketKey()));
      },
      ticketRotation - (Date.now() % ticketRotation),
    );
  };
  const forget = (cache: SharedCache) => {
    if (cache === "sessions") sessions.flush();
    if (cache === "tickets") useKeys([makeTicketKey()]);
  };
  const forgetSession = (name: string) => {
    sessions.forget(name);
    options.onForgotten(name);
  };
  const fleet = joinFleet(options, { meet, forget, forgetSession });
  turnLater();

  return {
    secret,
    get ticketKeys() {
      return ticketKeys;
    },
    findSession: async (name) => sessions.find(name, Date.now()) ?? (await fleet?.findSession(name)),
    putSession(name, sealed, until) {
      sessions.put(name, sealed, until);
      fleet?.putSession(name, sealed, until);
    },
    forgetSession(name) {
      sessions.forget(name);
      fleet?.forgetSession(name);
    },
    certificates: fleet && certificatesOf(fleet),
    fleet,
    async flush(cache) {
      forget(cache);
      await fleet?.flush(cache);
      if (cache === "tickets") await meet();
    },
    get size() {
      return sessions.size;
    },
    close() {
      clearTimeout(turn);
      fleet?.close();
    },
  };
}

function joinFleet(
  { resumption, fleetSecret, ...options }: SharingOptions,
  {
    meet,
    forget,
    forgetSession,
  }: { meet(): Promise<boolean>; forget(cache: SharedCache): void; forgetSession(name: string): void },
): Sharing["fleet"] {
  const { shared: url, wait, ticketRotation: rotation, node = hostname() } = resumption;
  if (url === undefined) return undefined;
  const place = new URL(url).host;
  const fleet = openFleet<FleetQuestion, FleetAnswer>({
    ...{ url, wait, rotation, name: node, now: Date.now() },
    sealer: createSealer(deriveKey(fleetSecret(), "store")),
    onConnected() {
      log.info({ store: place }, "This node shares sessions, tickets, certificates and bypasses with the others");
      for (const [server, until] of options.learned()) fleet.learn(server, until);
      void meet();
    },
    onAlone: (reason) => log.warn({ store: place, reason }, "The shared store cannot be used; this node goes on alone"),
    onLearned(server, until) {
      if (until > Date.now()) options.onLearned(server, until);
    },
    onForgotten: forgetSession,
    onFlush(cache) {
      forget(cache);
      if (cache === "tickets") void meet();
      options.onFlush(cache);
    },
    answer: options.answer,
  });
  return fleet;
}

function certificatesOf(fleet: Fleet<FleetQuestion, FleetAnswer>): SharedCertificates {
  return {
    async find(name) {
      const text = await fleet.findIssued(name);
      return text === undefined ? undefined : (JSON.parse(text) as Minted);
    },
    put: (name, minted, until) => fleet.putIssued(name, JSON.stringify(minted), until),
  };
}

/** Whether workers find what is in this cache through the supervisor, or other nodes do. */
export function isShared(cache: string): cache is SharedCache {
  return SHARED_CACHES.some((name) => name === cache);
}
