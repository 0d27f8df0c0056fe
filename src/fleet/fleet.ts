import { randomBytes } from "node:crypto";
import type { Sealer } from "../resumption/seal.ts";
import { makeTicketKey, type TicketKeys } from "../resumption/ticket-keys.ts";
import { createFleetNames, type FleetNames } from "./fleet-names.ts";
import { Store, type StoreOptions, type StoreState } from "./store.ts";

export const SHARED_CACHES = ["sessions", "tickets", "mint", "demanding"] as const;
export type SharedCache = (typeof SHARED_CACHES)[number];

export interface FleetNode {
  /** A new one with each start. */
  readonly id: string;
  readonly name: string;
  /** ms since the epoch. */
  readonly since: number;
}

export interface FleetOptions<Question, Answer> extends Pick<StoreOptions, "url" | "wait" | "onAlone"> {
  /** Made of the secret that all nodes of the fleet have, and nobody else. */
  readonly sealer: Sealer;
  readonly name: string;
  /** How long one key makes tickets, in ms. */
  readonly rotation: number;
  readonly now: number;
  /** The store answers, for the first time or again. */
  onConnected(): void;
  /** A server demands a client certificate until then, in ms since the epoch. */
  onLearned(server: string, until: number): void;
  onForgotten(name: string): void;
  onFlush(cache: SharedCache): void;
  answer(question: Question): Answer;
}

/** A message from one node to all others, or as an answer to one. */
type Message<Question, Answer> = { readonly from: string } & (
  | ({ readonly kind: "learned" } & Learned)
  | { readonly kind: "forgotten"; readonly name: string }
  | { readonly kind: "flush"; readonly cache: SharedCache }
  | { readonly kind: "question"; readonly id: string; readonly question: Question }
  | { readonly kind: "answer"; readonly id: string; readonly answer: Answer }
);

interface Learned {
  readonly server: string;
  readonly until: number;
}

/** ms between two signs of life of a node, and after which one that gives none is gone. */
const SIGN = 5_000;
const GONE = 3 * SIGN;
/** ms that the other nodes have for an answer. */
const ANSWER = 3_000;
const MOST = { nodes: 1_000, demanding: 10_000 } as const;

/**
 * What the nodes of a fleet share through a store that they do not trust: everything in it, and every message through it, is sealed
 * under a secret that only they have. Without the store each node goes on alone. Times in ms since the epoch.
 */
export class Fleet<Question, Answer> {
  readonly self: FleetNode;
  readonly #options: FleetOptions<Question, Answer>;
  readonly #names: FleetNames;
  readonly #store: Store;
  readonly #signs: NodeJS.Timeout;
  /** What takes the answers to this node's questions, by question. */
  readonly #asked = new Map<string, (from: string, answer: Answer) => void>();

  constructor(options: FleetOptions<Question, Answer>) {
    const { url, wait, onAlone } = options;
    this.#options = options;
    this.self = { id: randomBytes(8).toString("hex"), name: options.name, since: options.now };
    this.#names = createFleetNames(options.sealer);
    this.#store = new Store({
      ...{ url, wait, onAlone },
      channels: [this.#names.key("news"), this.#names.key("to", this.self.id)],
      onMessage: (channel, message) => this.#hear(channel, message),
      onConnected: () => this.#connected(),
    });
    this.#signs = setInterval(() => this.#sign(), SIGN);
  }

  state(): StoreState {
    return this.#store.state();
  }

  /** A client's session, sealed by the worker that put it there. */
  findSession(name: string): Promise<Buffer | undefined> {
    return this.#store.find(this.#names.key("sessions", name));
  }

  putSession(name: string, sealed: Uint8Array, until: number): void {
    this.#store.put(this.#names.key("sessions", name), sealed, until - Date.now());
  }

  /** In the store, and by all other nodes. */
  forgetSession(name: string): void {
    this.#store.drop(this.#names.key("sessions", name));
    this.#tell({ kind: "forgotten", name });
  }

  /** A certificate that some node issued under this name. */
  async findIssued(name: string): Promise<string | undefined> {
    const place = this.#names.key("mint", this.#names.hash("mint", name));
    return this.#names.open(place, await this.#store.find(place));
  }

  putIssued(name: string, text: string, until: number): void {
    const place = this.#names.key("mint", this.#names.hash("mint", name));
    this.#store.put(place, this.#names.seal(place, text), until - Date.now());
  }

  /** Tells the other nodes, and those that come later, that a server demands a client certificate until then. */
  learn(server: string, until: number): void {
    const learned: Learned = { server, until };
    const key = this.#names.key("demanding", this.#names.hash("demanding", server));
    this.#store.put(key, this.#names.seal(this.#names.key("demanding"), learned), until - Date.now());
    this.#tell({ kind: "learned", ...learned });
  }

  /** The ticket keys of this time, newest first. Undefined when the store does not answer. */
  async ticketKeys(now: number): Promise<TicketKeys | undefined> {
    const { sealer, rotation } = this.#options;
    const turn = Math.floor(now / rotation);
    const place = (at: number) => ({ key: this.#names.key("tickets", at), ...sealer("ticket key", [at]) });
    const [current, former] = [place(turn), place(turn - 1)];
    // It makes tickets for one turn and opens them for another.
    const sealed = await this.#store.putFirst(current.key, current.seal(makeTicketKey()), 2 * rotation);
    const newest = sealed && current.open(sealed);
    if (!newest) return undefined;
    const sealedBefore = await this.#store.find(former.key);
    const before = sealedBefore && former.open(sealedBefore);
    return [newest, ...(before ? [before] : [])];
  }

  /** In the store, and by all other nodes. */
  async flush(cache: SharedCache): Promise<void> {
    await this.#store.clear(this.#names.key(cache, "")).catch(() => undefined);
    this.#tell({ kind: "flush", cache });
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
    const nodes = await this.#listed<FleetNode>("nodes");
    return nodes.filter(({ id }) => id !== this.self.id).sort((a, b) => a.name.localeCompare(b.name));
  }

  #connected(): void {
    this.#sign();
    this.#options.onConnected();
    void this.#listed<Learned>("demanding").then((all) => {
      for (const { server, until } of all) this.#options.onLearned(server, until);
    });
  }

  #sign(): void {
    const sealed = this.#names.seal(this.#names.key("nodes"), this.self);
    this.#store.put(this.#names.key("nodes", this.self.id), sealed, GONE);
  }

  /** Never rejects: without the store there is nothing. */
  async #listed<Content>(part: "nodes" | "demanding"): Promise<Content[]> {
    const sealed = await this.#store.list(this.#names.key(part, ""), MOST[part]).catch(() => []);
    return sealed.flatMap((one) => {
      const text = this.#names.open(this.#names.key(part), one);
      return text === undefined ? [] : [JSON.parse(text) as Content];
    });
  }

  #tell(message: WithoutSender<Message<Question, Answer>>, channel = this.#names.key("news")): void {
    this.#store.publish(channel, this.#names.seal(channel, { ...message, from: this.self.id }));
  }

  #hear(channel: string, sealed: Buffer): void {
    const text = this.#names.open(channel, sealed);
    if (text === undefined) return;
    const message = JSON.parse(text) as Message<Question, Answer>;
    // A node hears its own news, too.
    if (message.from === this.self.id) return;
    switch (message.kind) {
      case "learned":
        this.#options.onLearned(message.server, message.until);
        break;
      case "forgotten":
        this.#options.onForgotten(message.name);
        break;
      case "flush":
        this.#options.onFlush(message.cache);
        break;
      case "question": {
        const { id, question, from } = message;
        this.#tell({ kind: "answer", id, answer: this.#options.answer(question) }, this.#names.key("to", from));
        break;
      }
      case "answer":
        this.#asked.get(message.id)?.(message.from, message.answer);
        break;
      default:
        message satisfies never;
    }
  }
}

type WithoutSender<Sent> = Sent extends { readonly from: string } ? Omit<Sent, "from"> : never;
