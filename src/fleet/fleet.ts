import { randomBytes } from "node:crypto";
import type { Sealer } from "../resumption/seal.ts";
import { makeTicketKey, type TicketKeys } from "../resumption/ticket-keys.ts";
import { openStore, type StoreOptions, type StoreState } from "./store.ts";

/**
 * What the nodes of a fleet have in common, through a store that they do not trust: all that is in it, and all that they say to
 * each other through it, is sealed under a secret that only they have. Without the store each node goes on alone.
 */
export interface Fleet<Question, Answer> {
  /** Already sealed, by the worker whose session it is. Times in ms since the epoch. */
  findSession(name: string): Promise<Uint8Array | undefined>;
  putSession(name: string, sealed: Uint8Array, until: number): void;
  /** In the store and by all other nodes. */
  forgetSession(name: string): void;
  /** Certificates that were issued for one name; `until` in ms since the epoch. */
  findIssued(name: string): Promise<string | undefined>;
  putIssued(name: string, text: string, until: number): void;
  /** A server demands a client certificate until then, in ms since the epoch. */
  learn(server: string, until: number): void;
  /** The keys of this time, newest first. Undefined: the store is not there. `now` in ms since the epoch. */
  ticketKeys(now: number): Promise<TicketKeys | undefined>;
  /** Forgotten in the store and by all other nodes. */
  flush(cache: SharedCache): Promise<void>;
  /** Those that have said so within the last seconds, this one first. */
  nodes(): Promise<readonly FleetNode[]>;
  /** Asks all other nodes. One that does not answer in time has no answer. */
  ask(question: Question): Promise<readonly { readonly node: FleetNode; readonly answer: Answer | undefined }[]>;
  readonly self: FleetNode;
  state(): StoreState;
  close(): void;
}

export const SHARED_CACHES = ["sessions", "tickets", "mint", "demanding"] as const;
export type SharedCache = (typeof SHARED_CACHES)[number];

export interface FleetNode {
  /** Anew with each start. */
  readonly id: string;
  readonly name: string;
  /** ms since the epoch. */
  readonly since: number;
}

export interface FleetOptions<Question, Answer> extends Pick<StoreOptions, "url" | "wait" | "onAlone"> {
  readonly sealer: Sealer;
  readonly name: string;
  /** For how long one key makes tickets, in ms. */
  readonly rotation: number;
  readonly now: number;
  /** The store is there, again. */
  onConnected(): void;
  onLearned(server: string, until: number): void;
  onForgotten(name: string): void;
  onFlush(cache: SharedCache): void;
  answer(question: Question): Answer;
}

type Word<Question, Answer> =
  | { readonly kind: "learned"; readonly server: string; readonly until: number }
  | { readonly kind: "forgotten"; readonly name: string }
  | { readonly kind: "flush"; readonly cache: SharedCache }
  | { readonly kind: "question"; readonly id: string; readonly question: Question }
  | { readonly kind: "answer"; readonly id: string; readonly answer: Answer };
type Said<Question, Answer> = Word<Question, Answer> & { readonly from: string };

/** ms between two signs of life, and after which one that gives none is gone. */
const SIGN = 5_000;
const GONE = 3 * SIGN;
/** ms that the other nodes have for an answer. */
const ANSWER = 3_000;
const MOST = { nodes: 1_000, learned: 10_000 };
const PARTS = { sessions: "s", tickets: "t", mint: "m", demanding: "d", nodes: "n", news: "news", to: "to" } as const;

export function openFleet<Question, Answer>(options: FleetOptions<Question, Answer>): Fleet<Question, Answer> {
  const { sealer, rotation } = options;
  const self: FleetNode = { id: randomBytes(8).toString("hex"), name: options.name, since: options.now };
  // Fleets with other secrets may use the same store.
  const fleet = `clearline:${sealer("fleet", []).name.slice(0, 16)}`;
  const key = (part: keyof typeof PARTS, ...rest: readonly (string | number)[]) =>
    [fleet, PARTS[part], ...rest].join(":");
  const waiting = new Map<string, (from: string, answer: Answer) => void>();

  // What is sealed for one place opens in no other: the store cannot give one thing for another.
  const seal = (at: string, content: object | string) =>
    sealer("place", [at]).seal(Buffer.from(typeof content === "string" ? content : JSON.stringify(content)));
  const open = (at: string, sealed: Buffer | undefined) => sealed && sealer("place", [at]).open(sealed)?.toString();
  const listed = async <T>(part: "nodes" | "demanding", most: number): Promise<T[]> => {
    const sealed = await store.list(key(part, ""), most).catch(() => []);
    return sealed.flatMap((one) => {
      const text = open(key(part), one);
      return text === undefined ? [] : [JSON.parse(text) as T];
    });
  };

  const say = (channel: string, word: Word<Question, Answer>) =>
    store.publish(channel, seal(channel, { ...word, from: self.id }));
  const hear = (said: Said<Question, Answer>): void => {
    if (said.from === self.id) return;
    if (said.kind === "learned") options.onLearned(said.server, said.until);
    if (said.kind === "forgotten") options.onForgotten(said.name);
    if (said.kind === "flush") options.onFlush(said.cache);
    if (said.kind === "question") {
      say(key("to", said.from), { kind: "answer", id: said.id, answer: options.answer(said.question) });
    }
    if (said.kind === "answer") waiting.get(said.id)?.(said.from, said.answer);
  };
  const sign = () => store.put(key("nodes", self.id), seal(key("nodes"), self), GONE);

  const store = openStore({
    url: options.url,
    wait: options.wait,
    channels: [key("news"), key("to", self.id)],
    onMessage(channel, message) {
      const text = open(channel, message);
      if (text !== undefined) hear(JSON.parse(text) as Said<Question, Answer>);
    },
    onConnected() {
      sign();
      options.onConnected();
      void listed<Learned>("demanding", MOST.learned).then((all) => {
        for (const { server, until } of all) options.onLearned(server, until);
      });
    },
    onAlone: options.onAlone,
  });
  const signs = setInterval(sign, SIGN);

  const ticketKey = async (turn: number): Promise<Buffer | undefined> => {
    const at = key("tickets", turn);
    // One turn while it makes tickets, one while it still opens them.
    const { seal: sealKey, open: openKey } = sealer("ticket key", [turn]);
    const agreed = await store.agree(at, sealKey(makeTicketKey()), 2 * rotation);
    return agreed && openKey(agreed);
  };
  const nodes = async () => {
    const others = (await listed<FleetNode>("nodes", MOST.nodes)).filter(({ id }) => id !== self.id);
    return [self, ...others.sort((a, b) => a.name.localeCompare(b.name))];
  };

  return {
    self,
    findSession: (name) => store.find(key("sessions", name)),
    putSession: (name, sealed, until) => store.put(key("sessions", name), sealed, until - Date.now()),
    forgetSession(name) {
      store.drop(key("sessions", name));
      say(key("news"), { kind: "forgotten", name });
    },
    async findIssued(name) {
      const at = key("mint", sealer("mint", [name]).name);
      return open(at, await store.find(at));
    },
    putIssued(name, text, until) {
      const at = key("mint", sealer("mint", [name]).name);
      store.put(at, seal(at, text), until - Date.now());
    },
    learn(server, until) {
      const at = key("demanding", sealer("demanding", [server]).name);
      store.put(at, seal(key("demanding"), { server, until } satisfies Learned), until - Date.now());
      say(key("news"), { kind: "learned", server, until });
    },
    async ticketKeys(now) {
      const turn = Math.floor(now / rotation);
      const newest = await ticketKey(turn);
      const older = newest && (await store.find(key("tickets", turn - 1)));
      const before = older && sealer("ticket key", [turn - 1]).open(older);
      return newest && [newest, ...(before ? [before] : [])];
    },
    async flush(cache) {
      await store.clear(key(cache, "")).catch(() => undefined);
      say(key("news"), { kind: "flush", cache });
    },
    nodes,
    async ask(question) {
      const [, ...others] = await nodes();
      const id = randomBytes(8).toString("hex");
      const answers = new Map<string, Answer>();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ANSWER);
        const heard = (from: string, answer: Answer) => {
          answers.set(from, answer);
          if (others.every((node) => answers.has(node.id))) finish();
        };
        const finish = () => {
          clearTimeout(timer);
          resolve();
        };
        waiting.set(id, heard);
        if (others.length === 0) finish();
        else say(key("news"), { kind: "question", id, question });
      });
      waiting.delete(id);
      return others.map((node) => ({ node, answer: answers.get(node.id) }));
    },
    state: store.state,
    close() {
      clearInterval(signs);
      store.put(key("nodes", self.id), Buffer.alloc(0), 1);
      store.close();
    },
  };
}

interface Learned {
  readonly server: string;
  readonly until: number;
}
