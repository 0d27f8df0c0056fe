import { randomBytes } from "node:crypto";
import type { Sealer } from "../resumption/seal.ts";
import { createFleetNames, type FleetNames } from "./fleet-names.ts";
import { Freshness, isNear, type Stamp } from "./freshness.ts";
import { Store, type StoreOptions, type StoreState } from "./store.ts";
import { type Learned, type SharedCache, SharedValues, type SharedValuesOptions } from "./values.ts";

export interface FleetNode {
  /** A new one with each start. */
  readonly id: string;
  readonly name: string;
  /** ms since the epoch. */
  readonly since: number;
}

export interface FleetOptions<Question, Answer>
  extends Pick<StoreOptions, "url" | "wait" | "onAlone">,
    SharedValuesOptions {
  /** Made of the secret that all nodes of the fleet have, and nobody else. */
  readonly sealer: Sealer;
  readonly name: string;
  readonly now: number;
  /** The store answers, for the first time or again. */
  onConnected(): void;
  /** A server demands a client certificate until then, in ms since the epoch. */
  onLearned(server: string, until: number): void;
  onForgotten(name: string): void;
  onFlush(cache: SharedCache): void;
  /** A message of a node of the fleet, sent then, was heard before, or its time is not now. */
  onStale(at: number): void;
  /**
   * Takes over the bypasses that another node has written; undefined: none has. The answer: what is to be written in their place;
   * undefined: there is nothing to add.
   */
  exchangeBypasses(written: unknown): Promise<object | undefined>;
  /** How the CA of a role has followed another, as some node wrote it last; undefined: none has. */
  onSuccession(written: unknown): void;
  answer(question: Question): Promise<Answer>;
}

/** A message from one node to all others, or as an answer to one. */
type Message<Question, Answer> = Stamp &
  (
    | ({ readonly kind: "learned" } & Learned)
    | { readonly kind: "forgotten"; readonly name: string }
    | { readonly kind: "flush"; readonly cache: SharedCache; readonly epoch: number }
    | { readonly kind: "bypasses"; readonly bypasses: object }
    | { readonly kind: "succession"; readonly succession: object }
    | { readonly kind: "question"; readonly id: string; readonly question: Question }
    | { readonly kind: "answer"; readonly id: string; readonly answer: Answer }
  );

/** A sign of life. */
interface Sign extends FleetNode {
  readonly at: number;
}

const AUTHORITY_ROLES = ["primary", "secondary"];

/** ms between two signs of life of a node, and after which one that gives none is gone. */
const SIGN = 5_000;
const GONE = 3 * SIGN;
/** ms that the other nodes have for an answer. */
const ANSWER = 3_000;
const MOST_NODES = 1_000;

/**
 * What the nodes of a fleet share through a store that they do not trust: everything in it, and every message through it, is sealed
 * under a secret that only they have, and cannot be used again later. Without the store each node goes on alone. Times in ms since the
 * epoch.
 */
export class Fleet<Question, Answer> {
  readonly self: FleetNode;
  readonly #options: FleetOptions<Question, Answer>;
  readonly #names: FleetNames;
  readonly #store: Store;
  /** What is in the store. */
  readonly values: SharedValues;
  readonly #signs: NodeJS.Timeout;
  /** What takes the answers to this node's questions, by question. */
  readonly #asked = new Map<string, (from: string, answer: Answer) => void>();
  readonly #freshness = new Freshness();
  #sequence = 0;

  constructor(options: FleetOptions<Question, Answer>) {
    const { url, wait, onAlone } = options;
    this.#options = options;
    this.self = { id: randomBytes(8).toString("hex"), name: options.name, since: options.now };
    this.#names = createFleetNames(options.sealer);
    this.#store = new Store({
      ...{ url, wait, onAlone },
      channels: [this.#names.key("news"), this.#names.key("to", this.self.id)],
      onMessage: (channel, message) => this.#hear(channel, message),
      onConnected: () => void this.#connected(),
    });
    this.values = new SharedValues(this.#store, this.#names, options);
    this.#signs = setInterval(() => {
      this.#sign();
      void this.#catchUp();
    }, SIGN);
  }

  state(): StoreState {
    return this.#store.state();
  }

  /** In the store, and by all other nodes. */
  forgetSession(name: string): void {
    this.values.forgetSession(name);
    this.#tell({ kind: "forgotten", name });
  }

  /** Tells the other nodes, and those that come later, that a server demands a client certificate until then. */
  learn(server: string, until: number): void {
    this.values.learn({ server, until });
    this.#tell({ kind: "learned", server, until });
  }

  /** In the store, and by all other nodes. */
  async flush(cache: SharedCache): Promise<void> {
    const epoch = await this.values.clear(cache);
    this.#tell({ kind: "flush", cache, epoch });
  }

  /** Tells the other nodes, and those that come later, of all bypasses. */
  shareBypasses(bypasses: object): void {
    this.#tell({ kind: "bypasses", bypasses });
    void this.#exchangeBypasses();
  }

  /** Tells the other nodes, and those that come later, how the CA of this role has followed another. */
  shareSuccession(role: string, succession: object): void {
    this.values.putSuccession(role, succession);
    this.#tell({ kind: "succession", succession });
  }

  /** Asks all other nodes. A node that does not answer in time has no answer. */
  async ask(question: Question): Promise<readonly { readonly node: FleetNode; readonly answer: Answer | undefined }[]> {
    const others = await this.#others();
    const id = randomBytes(8).toString("hex");
    const answers = new Map<string, Answer>();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ANSWER);
      const finishWhenComplete = () => {
        if (!others.every((node) => answers.has(node.id))) return;
        clearTimeout(timer);
        resolve();
      };
      this.#asked.set(id, (from, answer) => {
        answers.set(from, answer);
        finishWhenComplete();
      });
      if (others.length > 0) this.#tell({ kind: "question", id, question });
      else finishWhenComplete();
    });
    this.#asked.delete(id);
    return others.map((node) => ({ node, answer: answers.get(node.id) }));
  }

  close(): void {
    clearInterval(this.#signs);
    this.#store.put(this.#names.key("nodes", this.self.id), Buffer.alloc(0), 1);
    this.#store.close();
  }

  /** The nodes that gave a sign of life within the last seconds, by name. */
  async #others(): Promise<readonly FleetNode[]> {
    const place = this.#names.key("nodes");
    const sealed = await this.#store.list(`${place}:`, MOST_NODES).catch(() => []);
    const signs = sealed.flatMap((one) => {
      const content = this.#names.open(place, one);
      return content === undefined ? [] : [JSON.parse(content.toString()) as Sign];
    });
    const now = Date.now();
    const others = new Map(signs.flatMap((sign) => (isNear(sign.at, now) ? [[sign.id, sign] as const] : [])));
    others.delete(this.self.id);
    return [...others.values()].sort((a, b) => a.name.localeCompare(b.name));
  }

  async #connected(): Promise<void> {
    this.#sign();
    await this.#catchUp();
    this.#options.onConnected();
    for (const { server, until } of await this.values.learned()) this.#options.onLearned(server, until);
  }

  /** Other nodes may have flushed caches, or changed bypasses, while this one did not hear of it. */
  async #catchUp(): Promise<void> {
    await this.#exchangeBypasses();
    for (const role of AUTHORITY_ROLES) {
      const succession = await this.values.succession(role);
      if (succession) this.#options.onSuccession(succession);
    }
    for (const cache of await this.values.catchUp()) this.#options.onFlush(cache);
  }

  async #exchangeBypasses(): Promise<void> {
    const missing = await this.#options.exchangeBypasses(await this.values.bypasses());
    if (missing) this.values.putBypasses(missing);
  }

  async #answer({ id, question, from }: Asked<Question>): Promise<void> {
    const answer = await this.#options.answer(question);
    this.#tell({ kind: "answer", id, answer }, this.#names.key("to", from));
  }

  #sign(): void {
    const sign: Sign = { ...this.self, at: Date.now() };
    const sealed = this.#names.seal(this.#names.key("nodes"), sign);
    this.#store.put(this.#names.key("nodes", this.self.id), sealed, GONE);
  }

  #tell(message: WithoutStamp<Message<Question, Answer>>, channel = this.#names.key("news")): void {
    this.#sequence += 1;
    const stamp: Stamp = { from: this.self.id, at: Date.now(), sequence: this.#sequence };
    this.#store.publish(channel, this.#names.seal(channel, { ...message, ...stamp }));
  }

  #hear(channel: string, sealed: Buffer): void {
    const content = this.#names.open(channel, sealed);
    if (content === undefined) return;
    const message = JSON.parse(content.toString()) as Message<Question, Answer>;
    // A node hears its own news, too.
    if (message.from === this.self.id) return;
    if (!this.#freshness.takes(message, Date.now())) {
      this.#options.onStale(message.at);
      return;
    }
    switch (message.kind) {
      case "learned":
        this.#options.onLearned(message.server, message.until);
        break;
      case "forgotten":
        this.values.forgotten(message.name);
        this.#options.onForgotten(message.name);
        break;
      case "flush":
        this.values.cleared(message.cache, message.epoch);
        this.#options.onFlush(message.cache);
        break;
      case "bypasses":
        void this.#options.exchangeBypasses(message.bypasses);
        break;
      case "succession":
        this.#options.onSuccession(message.succession);
        break;
      case "question":
        void this.#answer(message);
        break;
      case "answer":
        this.#asked.get(message.id)?.(message.from, message.answer);
        break;
      default:
        message satisfies never;
    }
  }
}

type Asked<Question> = Pick<Stamp, "from"> & { readonly id: string; readonly question: Question };

type WithoutStamp<Sent> = Sent extends Stamp ? Omit<Sent, keyof Stamp> : never;
