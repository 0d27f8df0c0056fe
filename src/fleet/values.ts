import { Cache, ENTRY_BYTES } from "../cache.ts";
import type { Sealer } from "../resumption/seal.ts";
import { makeTicketKey, type TicketKeys } from "../resumption/ticket-keys.ts";
import { type Dated, readDated, writeDated } from "./dated.ts";
import type { FleetNames } from "./fleet-names.ts";
import type { Store } from "./store.ts";

export const SHARED_CACHES = ["sessions", "tickets", "mint", "demanding"] as const;
export type SharedCache = (typeof SHARED_CACHES)[number];

/** What a node learnt about a server. */
export interface Learned {
  readonly server: string;
  readonly until: number;
}

/**
 * Each flush of a cache begins its next epoch, and what was put into the store in another epoch has another name and another seal: so the
 * store cannot bring back what was flushed. 0 before the first flush, then its time in ms since the epoch.
 */
type Epochs = Record<SharedCache, number>;

const NO_FLUSH: Readonly<Epochs> = { sessions: 0, tickets: 0, mint: 0, demanding: 0 };

const MOST = { demanding: 10_000, forgotten: 10_000 } as const;
/** ms that the store keeps the epochs, and the bypasses: longer than anything else. Nodes put them there again. */
const EPOCHS_KEPT = 30 * 24 * 3_600_000;

export interface SharedValuesOptions {
  readonly sealer: Sealer;
  /** How long one key makes tickets, in ms. */
  readonly rotation: number;
}

/** What the nodes of a fleet keep in the store. Times in ms since the epoch. */
export class SharedValues {
  readonly #store: Store;
  readonly #names: FleetNames;
  readonly #options: SharedValuesOptions;
  readonly #epochs: Epochs = { ...NO_FLUSH };
  /** When sessions were forgotten: the store may still give them back. */
  readonly #forgotten = new Cache<number>({
    entries: MOST.forgotten,
    bytes: MOST.forgotten * (ENTRY_BYTES + 8),
    sizeOf: () => 8,
  });

  constructor(store: Store, names: FleetNames, options: SharedValuesOptions) {
    this.#store = store;
    this.#names = names;
    this.#options = options;
  }

  /** A client's session, sealed by the worker that put it there. */
  async findSession(name: string): Promise<Uint8Array | undefined> {
    const found = await this.#find("sessions", name);
    const forgottenAt = this.#forgotten.find(name);
    return found && (forgottenAt === undefined || found.at > forgottenAt) ? found.bytes : undefined;
  }

  putSession(name: string, sealed: Uint8Array, until: number): void {
    this.#put("sessions", name, sealed, until);
  }

  forgetSession(name: string): void {
    this.forgotten(name);
    this.#store.drop(this.#names.key("sessions", this.#epochs.sessions, name));
  }

  /** A node has forgotten the session. It is no longer found, also if the store still has it. */
  forgotten(name: string): void {
    this.#forgotten.keep(name, Date.now());
  }

  /** A certificate that some node issued under this name. */
  async findIssued(name: string): Promise<string | undefined> {
    const found = await this.#find("mint", this.#names.hash("mint", name));
    return found && Buffer.from(found.bytes).toString();
  }

  putIssued(name: string, text: string, until: number): void {
    this.#put("mint", this.#names.hash("mint", name), Buffer.from(text), until);
  }

  /** For nodes that come later. */
  learn(learned: Learned): void {
    const place = this.#names.key("demanding", this.#epochs.demanding);
    const key = `${place}:${this.#names.hash("demanding", learned.server)}`;
    this.#store.put(key, this.#names.seal(place, learned), learned.until - Date.now());
  }

  /** What other nodes learnt. Never rejects: without the store there is nothing. */
  async learned(): Promise<readonly Learned[]> {
    const place = this.#names.key("demanding", this.#epochs.demanding);
    const sealed = await this.#store.list(`${place}:`, MOST.demanding).catch(() => []);
    return sealed.flatMap((one) => {
      const content = this.#names.open(place, one);
      return content === undefined ? [] : [JSON.parse(content.toString()) as Learned];
    });
  }

  /** The fleet's bypasses, as some node wrote them last. Undefined: there are none, or the store does not answer. */
  async bypasses(): Promise<unknown> {
    const place = this.#names.key("bypasses");
    const content = this.#names.open(place, await this.#store.find(place));
    return content && JSON.parse(content.toString());
  }

  /** Nodes that write at the same time replace each other's: each has to look again later. */
  putBypasses(bypasses: object): void {
    const place = this.#names.key("bypasses");
    this.#store.put(place, this.#names.seal(place, bypasses), EPOCHS_KEPT);
  }

  /** How the CA of this role has followed another, as some node wrote it last. Undefined: none has, or the store does not answer. */
  async succession(role: string): Promise<unknown> {
    const place = this.#names.key("authorities", role);
    const content = this.#names.open(place, await this.#store.find(place));
    return content && JSON.parse(content.toString());
  }

  putSuccession(role: string, succession: object): void {
    const place = this.#names.key("authorities", role);
    this.#store.put(place, this.#names.seal(place, succession), EPOCHS_KEPT);
  }

  /** The ticket keys of this time, newest first. Undefined when the store does not answer. */
  async ticketKeys(now: number): Promise<TicketKeys | undefined> {
    const { sealer, rotation } = this.#options;
    const epoch = this.#epochs.tickets;
    const turn = Math.floor(now / rotation);
    const place = (at: number) => ({
      key: this.#names.key("tickets", epoch, at),
      ...sealer("ticket key", [epoch, at]),
    });
    const [current, former] = [place(turn), place(turn - 1)];
    // It makes tickets for one turn and opens them for another.
    const sealed = await this.#store.putFirst(current.key, current.seal(makeTicketKey()), 2 * rotation);
    const newest = sealed && current.open(sealed);
    if (!newest) return undefined;
    const sealedBefore = await this.#store.find(former.key);
    const before = sealedBefore && former.open(sealedBefore);
    return [newest, ...(before ? [before] : [])];
  }

  /** Empties the cache. The answer: its next epoch. */
  async clear(cache: SharedCache): Promise<number> {
    const epoch = Math.max(this.#epochs[cache] + 1, Date.now());
    this.#epochs[cache] = epoch;
    this.#putEpochs();
    await this.#store.clear(this.#names.key(cache, "")).catch(() => undefined);
    return epoch;
  }

  /** Another node has emptied the cache. */
  cleared(cache: SharedCache, epoch: number): void {
    this.#epochs[cache] = Math.max(this.#epochs[cache], epoch);
  }

  /**
   * The caches that were emptied while this node did not hear of it. Epochs that the store does not have are put there again: it may
   * lose them, and two nodes that flush at the same time replace each other's.
   */
  async catchUp(): Promise<readonly SharedCache[]> {
    const place = this.#names.key("epochs");
    const content = this.#names.open(place, await this.#store.find(place));
    const stored = content === undefined ? NO_FLUSH : (JSON.parse(content.toString()) as Epochs);
    const missed = SHARED_CACHES.filter((cache) => stored[cache] > this.#epochs[cache]);
    for (const cache of missed) this.#epochs[cache] = stored[cache];
    if (SHARED_CACHES.some((cache) => this.#epochs[cache] > stored[cache])) this.#putEpochs();
    return missed;
  }

  #putEpochs(): void {
    const place = this.#names.key("epochs");
    this.#store.put(place, this.#names.seal(place, this.#epochs), EPOCHS_KEPT);
  }

  /** What was put there in this epoch, and is not too old. */
  async #find(cache: SharedCache, name: string): Promise<Dated | undefined> {
    const place = this.#names.key(cache, this.#epochs[cache], name);
    const opened = this.#names.open(place, await this.#store.find(place));
    const dated = opened && readDated(opened);
    return dated && dated.until > Date.now() ? dated : undefined;
  }

  #put(cache: SharedCache, name: string, bytes: Uint8Array, until: number): void {
    const place = this.#names.key(cache, this.#epochs[cache], name);
    const now = Date.now();
    this.#store.put(place, this.#names.seal(place, writeDated({ at: now, until, bytes })), until - now);
  }
}
