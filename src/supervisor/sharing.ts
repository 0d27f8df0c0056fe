import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Config } from "../config/schema.ts";
import type { FleetNodeInfo } from "../control/api.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { SHARED_CACHES, type SharedCache } from "../fleet/values.ts";
import { log } from "../log.ts";
import type { SharedCertificates } from "../pki/issue/mint.ts";
import type { Minted } from "../pki/issue/minted.ts";
import { createSealer, deriveKey } from "../resumption/seal.ts";
import { createSessionCache, type SessionCache } from "../resumption/session-cache.ts";
import { makeTicketKey, rotateTicketKeys, type TicketKeys } from "../resumption/ticket-keys.ts";
import type { Session } from "../sessions/record.ts";
import type { SessionQuery } from "../sessions/search.ts";

/** What a node asks the others of its fleet: sessions, or with `node` how they are. A node of an earlier version answers with sessions. */
export interface FleetQuestion {
  readonly node?: true;
  readonly query: SessionQuery;
  readonly live: "true" | "false" | "all";
  readonly limit: number;
}
export interface FleetAnswer {
  readonly sessions: readonly Session[];
  readonly more: boolean;
  readonly foundByCertificate: readonly string[];
  readonly node?: NodeSummary;
}

/** What is told of a node to the others. */
export type NodeSummary = Pick<FleetNodeInfo, "version" | "api" | "live" | "outcomes" | "health">;

export interface SharingOptions {
  readonly resumption: Config["resumption"];
  /** A secret that all nodes of the fleet have and nobody else. Not called without a store. */
  readonly fleetSecret: () => Uint8Array;
  /** The ticket keys have changed. */
  onTicketKeys(keys: TicketKeys): void;
  /** Another node learnt that a server demands a client certificate until then, in ms since the epoch. */
  onLearned(server: string, until: number): void;
  /** The servers that demand one, as far as this node knows now. */
  learned(): readonly (readonly [server: string, until: number])[];
  /** Another node has forgotten a client's session. */
  onForgotten(name: string): void;
  /** Another node's user flushed this cache. */
  onFlush(cache: SharedCache): void;
  /** See `Fleet`. */
  exchangeBypasses(written: unknown): Promise<object | undefined>;
  /** See `Fleet`. */
  onSuccession(written: unknown): void;
  answer(question: FleetQuestion): Promise<FleetAnswer>;
}

/** ms between two reports of messages that were not new. */
const REPORT_STALE = 60_000;

/** What the workers of this node share through the supervisor, and with a store the nodes of a fleet. */
export class Sharing {
  /** The workers seal sessions with it. */
  readonly secret: Uint8Array;
  /** Undefined when this node shares nothing with others. */
  readonly fleet: Fleet<FleetQuestion, FleetAnswer> | undefined;
  readonly #options: SharingOptions;
  readonly #sessions: SessionCache;
  #ticketKeys: TicketKeys = [makeTicketKey()];
  #rotation: NodeJS.Timeout | undefined;
  #reportedStale = 0;

  /** A node that shares nothing with others starts without the library that speaks to a store. */
  static async open(options: SharingOptions): Promise<Sharing> {
    const fleet = options.resumption.shared === undefined ? undefined : await import("../fleet/fleet.ts");
    return new Sharing(options, fleet?.Fleet);
  }

  private constructor(options: SharingOptions, Joined: typeof Fleet | undefined) {
    const { resumption, fleetSecret } = options;
    this.#options = options;
    this.#sessions = createSessionCache(resumption.sessions);
    this.secret = resumption.shared === undefined ? randomBytes(32) : deriveKey(fleetSecret(), "sessions");
    this.fleet = Joined && resumption.shared !== undefined ? this.#joinFleet(Joined, resumption.shared) : undefined;
    this.#rotateLater();
  }

  get ticketKeys(): TicketKeys {
    return this.#ticketKeys;
  }

  /** Sessions of clients that are kept here. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Certificates that the nodes issued. Undefined when there are no other nodes. */
  get certificates(): SharedCertificates | undefined {
    const { fleet } = this;
    return (
      fleet && {
        async find(name) {
          const text = await fleet.values.findIssued(name);
          return text === undefined ? undefined : (JSON.parse(text) as Minted);
        },
        put: (name, minted, until) => fleet.values.putIssued(name, JSON.stringify(minted), until),
      }
    );
  }

  /** A client's session, sealed by a worker of this node or of another. */
  async findSession(name: string): Promise<Uint8Array | undefined> {
    return this.#sessions.find(name, Date.now()) ?? (await this.fleet?.values.findSession(name));
  }

  /** `until` in ms since the epoch. */
  putSession(name: string, sealed: Uint8Array, until: number): void {
    this.#sessions.keep(name, sealed, until);
    this.fleet?.values.putSession(name, sealed, until);
  }

  forgetSession(name: string): void {
    this.#sessions.forget(name);
    this.fleet?.forgetSession(name);
  }

  /** Empties the cache at all nodes. */
  async flush(cache: SharedCache): Promise<void> {
    this.#forget(cache);
    await this.fleet?.flush(cache);
    if (cache === "tickets") await this.#useFleetKeys();
  }

  close(): void {
    clearTimeout(this.#rotation);
    this.fleet?.close();
  }

  #joinFleet(Joined: typeof Fleet, url: string): Fleet<FleetQuestion, FleetAnswer> {
    const { resumption, fleetSecret, ...options } = this.#options;
    const { wait, ticketRotation: rotation, node: name = hostname() } = resumption;
    const store = new URL(url).host;
    return new Joined<FleetQuestion, FleetAnswer>({
      ...{ url, wait, rotation, name, now: Date.now() },
      sealer: createSealer(deriveKey(fleetSecret(), "store")),
      onConnected: () => {
        log.info({ store }, "This node shares sessions, tickets, certificates and bypasses with the others");
        for (const [server, until] of options.learned()) this.fleet?.learn(server, until);
        void this.#useFleetKeys();
      },
      onAlone: (reason) => log.warn({ store, reason }, "The shared store cannot be used; this node goes on alone"),
      onLearned(server, until) {
        if (until > Date.now()) options.onLearned(server, until);
      },
      onForgotten: (forgotten) => {
        this.#sessions.forget(forgotten);
        options.onForgotten(forgotten);
      },
      onFlush: (cache) => {
        this.#forget(cache);
        if (cache === "tickets") void this.#useFleetKeys();
        options.onFlush(cache);
      },
      onStale: (at) => this.#reportStale(at),
      exchangeBypasses: options.exchangeBypasses,
      onSuccession: options.onSuccession,
      answer: options.answer,
    });
  }

  /** Somebody repeats messages, or the clocks of the nodes differ: both need a look, and neither ends soon. */
  #reportStale(at: number): void {
    const now = Date.now();
    if (now - this.#reportedStale < REPORT_STALE) return;
    this.#reportedStale = now;
    const said = "The store repeated a message of another node, or that node's clock differs by more than a minute";
    log.warn({ at: new Date(at).toISOString() }, `${said}; it is ignored`);
  }

  #forget(cache: SharedCache): void {
    if (cache === "sessions") this.#sessions.flush();
    if (cache === "tickets") this.#useTicketKeys([makeTicketKey()]);
  }

  #useTicketKeys(keys: TicketKeys): void {
    this.#ticketKeys = keys;
    this.#options.onTicketKeys(keys);
  }

  /** Takes over the ticket keys that the fleet has now. Answers whether the store had them. */
  async #useFleetKeys(): Promise<boolean> {
    const keys = await this.fleet?.values.ticketKeys(Date.now());
    if (keys) this.#useTicketKeys(keys);
    return keys !== undefined;
  }

  /** All nodes change keys at multiples of the rotation time since the epoch: at once, without having to agree. */
  #rotateLater(): void {
    const { ticketRotation } = this.#options.resumption;
    const rotate = async () => {
      this.#rotateLater();
      if (!(await this.#useFleetKeys())) this.#useTicketKeys(rotateTicketKeys(this.#ticketKeys, makeTicketKey()));
    };
    this.#rotation = setTimeout(() => void rotate(), ticketRotation - (Date.now() % ticketRotation));
  }
}

/** Whether the cache is shared: its entries are found through the supervisor, or by other nodes. */
export function isShared(cache: string): cache is SharedCache {
  return SHARED_CACHES.some((name) => name === cache);
}
