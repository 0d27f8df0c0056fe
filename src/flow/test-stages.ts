import type { Arrival, Destination } from "../capture/arrival.ts";
import type { Sighting } from "../detect/detector.ts";
import type { Watch } from "../detect/starttls/dialogues.ts";
import type { End } from "../engine/end.ts";
import type { RelayEnding } from "../engine/relay.ts";
import type { PeerError } from "../errors.ts";
import type { ClientLeg, LegFailure, ServerLeg } from "../legs/leg.ts";
import type { ServerAttempt, ServerConnection } from "../legs/server-attempts.ts";
import type { JudgedServer } from "../pki/verify/judge.ts";
import type { Verdict } from "../policy/facts.ts";
import type { KnownFacts } from "../policy/view.ts";
import type { Ending } from "../sessions/outcome.ts";
import type { SessionUpdate } from "../sessions/session.ts";
import type { TimedAgreement, TimedTls, UpgradableConversation } from "../streams/conversation.ts";
import type { PageShown } from "../streams/page-stage.ts";
import type { FoundHeader } from "../streams/proxy-header.ts";
import type { Reading } from "../streams/reading.ts";
import type { RequestConversation } from "../streams/request-conversation.ts";
import type { FirstRequest } from "../streams/request-stage.ts";
import type { Chain, ChainFailure } from "../tools/chain.ts";
import type { Action, Phase } from "../vocabulary.ts";
import { nameAlert } from "../wire/alert.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { carry } from "./flow.ts";
import type { Node, ServerMemory, SessionHandle } from "./stages.ts";

/** For tests of the story: stages that do nothing but write down each call, and answer what the test says. */

/** What the stages answer. Each has a default, with which a session is decrypted through one tool. Any may throw. */
export interface Answers {
  locate(): Partial<Destination>;
  resolve(): string[];
  dial(address: string): void;
  /** The address that a connection has led to; by default the one that was dialled. */
  remote(): string;
  welcome(): void;
  onNetwork(facts: KnownFacts): Verdict | undefined;
  onHello(facts: KnownFacts): Verdict | undefined;
  onCertificate(facts: KnownFacts): Verdict;
  verdictSoFar(facts: KnownFacts): Verdict;
  isOpen(): boolean;
  namesAlike(): readonly string[] | undefined;
  /** What the peers of a bypassed session do wrong in their hellos. */
  hellos(): PeerError | undefined;
  serverBelowMin(): Verdict;
  onNotTls(facts: KnownFacts): Verdict | undefined;
  onUndecryptable(facts: KnownFacts, why: string): Verdict;
  onOverload(facts: KnownFacts): Verdict | undefined;
  /** Why the node should not decrypt the session. */
  overload(waited: boolean): string | undefined;
  whyUndecryptable(): string | undefined;
  /** The client offers what the node cannot. */
  leavesOut(): boolean;
  /** `time` counts the calls, from 1. */
  detect(time: number): Reading<Sighting>;
  watch(): Watch | undefined;
  watchInside(): Watch | undefined;
  /** What the peers of a plaintext conversation agree to, one after the other. "never": its relay ends first. */
  next(time: number): TimedAgreement | TimedTls | undefined | "never";
  /** No dialogue understands the conversation. */
  isPlain(): boolean;
  /** The header of the PROXY protocol that the client begins with. */
  proxyHeader(time: number): FoundHeader | undefined;
  /** What the client begins with that has no TLS. */
  first(): FirstRequest;
  /** The client's next request is for another host. */
  goesElsewhere(): boolean;
  /** Whether the client asks a proxy for something inside of its TLS. */
  peek(): boolean;
  serverLeg(connection: ServerConnection): ServerAttempt | LegFailure | undefined | Promise<ServerAttempt>;
  clientLeg(): LegFailure | undefined;
  /** Of the server's certificate; `time` counts the legs, from 1. */
  fingerprint(time: number): string;
  places(): Record<string, string>;
  /** The client may be let in without a server, and its first bytes then. */
  admitted(): Reading<Sighting> | undefined;
  /** What the client gets of a page; absent: the policy has none. */
  page(): PageShown;
  /** The protocol that the server chose. */
  alpn(): string | undefined;
  /** A last answer to the client is still being sent. */
  isAnswered(): boolean;
  holdsKey(): boolean;
  judge(): JudgedServer;
  present(): void;
  tools(): ChainFailure | undefined;
  onlyAlpn(): string | undefined;
  relay(): Partial<RelayEnding>;
  monitor(): boolean;
  /** The client has its turn for a handshake. */
  turn(): void;
}

export interface Transcript {
  /** Everything that happened, in order. */
  readonly steps: readonly string[];
  /** The session's record as it was in the end. */
  readonly record: SessionUpdate;
  /** What the flow said of the end. */
  readonly ending: Ending | undefined;
  /** How many turns for handshakes the session asked for. */
  readonly turns: number;
  /** Servers that demand a client certificate, and servers that offer STARTTLS, as they are known in the end. */
  readonly demanding: ReadonlySet<string>;
  readonly offering: ReadonlySet<string>;
  /** Another session follows on the client's connection. */
  readonly goesOn: boolean;
}

/** `connected`: whether the client is there at once, or its SYN is held. `offering`: servers that offered STARTTLS before. */
export async function runSession(
  answers: Partial<Answers> = {},
  {
    connected = true,
    offering = [],
    verified: verifiedBefore = [],
  }: { connected?: boolean; offering?: readonly string[]; verified?: readonly string[] } = {},
): Promise<Transcript> {
  const steps: string[] = [];
  const world = new World(steps, answers);
  const record: SessionUpdate = {};
  let ending: Ending | undefined;
  let turns = 0;
  const [demanding, known] = [new Set<string>(), new Set(offering)];
  const verified = new Set(verifiedBefore);
  const client = world.end("client");
  const node: Node = {
    sessions: { open: () => sessionHandle(steps, record, (given) => (ending = given)) },
    overload: { judge: (waited) => answers.overload?.(waited), count: (action) => steps.push(`count ${action}`) },
    turns: {
      async take() {
        turns += 1;
        answers.turn?.();
        return () => {};
      },
    },
    reach: { refuse: async () => undefined },
    servers: {
      demandingCertificate: memory(demanding),
      bindingLogin: memory(new Set()),
      askingCertificate: memory(demanding),
      refusesCertificate: () => false,
      offeringTls: memory(known),
      verified: memory(verified),
    },
    ...world.policyStage(),
    ...world.byteStages(),
    ...world.tlsStages(),
    ...world.toolStages(),
    pages: world.pageStage(),
    ca: {
      isOwn: (host) => host === "ca.test",
      answer: (end, { path }) => steps.push(`ca.answer ${nameOf(end)} ${path}`),
      hint: "without TLS",
    },
  };
  const next = await carry(world.arrival(client, connected), node);
  return { steps, record, ending, turns, demanding, offering: known, goesOn: next !== undefined };
}

class World {
  readonly #steps: string[];
  readonly #answers: Partial<Answers>;
  readonly #times = new Map<string, number>();
  /** The clients of plaintext conversations, with what ends their relay. */
  readonly #conversations = new Map<End, Promise<void>>();

  constructor(steps: string[], answers: Partial<Answers>) {
    this.#steps = steps;
    this.#answers = answers;
  }

  arrival(client: End, connected: boolean): Arrival {
    return {
      listener: "proxy",
      mode: connected ? "explicit" : "inline",
      from: { address: "198.51.100.7", port: 50_000 },
      client: connected ? client : undefined,
      locate: async () => {
        this.#step("arrival.locate");
        const own = { host: "server.test", port: 443, connectHost: null, http: false };
        return { ...own, ...this.#answers.locate?.() };
      },
      dial: async (addresses, port) => {
        this.#step(`arrival.dial ${addresses.join(" ")} port ${port}`);
        this.#answers.dial?.(addresses[0]!);
        return this.end(this.#numbered("server"), this.#answers.remote?.() ?? addresses[0]);
      },
      welcome: async () => {
        this.#step("arrival.welcome");
        this.#answers.welcome?.();
        return client;
      },
      refuse: (refusal) => void this.#step(`arrival.refuse ${refusal.kind}${refusal.page ? " with a page" : ""}`),
      ...(this.#answers.admitted && {
        admit: () => {
          this.#step("arrival.admit");
          return client;
        },
      }),
      again: (fresh) => this.arrival(fresh, true),
    };
  }

  policyStage(): Pick<Node, "policy"> {
    const { onNetwork, onHello, onCertificate, verdictSoFar, isOpen, serverBelowMin } = this.#answers;
    const { onNotTls, onUndecryptable, onOverload, monitor } = this.#answers;
    const policy: Partial<Node["policy"]> = {
      source: { monitor: monitor?.() ?? false } as Node["policy"]["source"],
      onNetwork: (facts) => {
        this.#step(`policy.onNetwork ${facts.server?.address}`);
        return onNetwork?.(facts);
      },
      onHello: (facts) => {
        this.#step("policy.onHello");
        return onHello?.(facts);
      },
      onCertificate: (facts) => {
        this.#step("policy.onCertificate");
        return onCertificate?.(facts) ?? verdict("decrypt", "certificate");
      },
      verdictSoFar: (facts) => verdictSoFar?.(facts) ?? verdict("decrypt", "sni"),
      onOverload: (facts) => onOverload?.(facts),
      onNotTls: (facts) => onNotTls?.(facts),
      onUndecryptable: (facts, why) => onUndecryptable?.(facts, why) ?? verdict("bypass", "sni", "undecryptable"),
      namesAlike: () => this.#answers.namesAlike?.(),
      verifies: ({ rule }) => rule === "to verify",
      isOpen: () => isOpen?.() ?? false,
      whilePassing: () => ({}),
      serverBelowMin: () => serverBelowMin?.() ?? verdict("drop", "sni", "versions"),
    };
    return { policy: policy as Node["policy"] };
  }

  byteStages(): Pick<Node, "streams" | "requests" | "upgrades"> {
    const { resolve, watch, watchInside, peek, proxyHeader } = this.#answers;
    return {
      streams: {
        resolve: async (host) => {
          this.#step(`streams.resolve ${host}`);
          return resolve?.() ?? ["192.0.2.1"];
        },
        detect: async (client, server) => {
          this.#step(`streams.detect ${nameOf(client)} and ${nameOf(server)}`);
          const reading = this.#answers.detect?.(this.#time("detect")) ?? tlsBytes();
          // The bytes were looked at, and stay where they are.
          fake(client).waiting = reading.answer?.kind === "match" ? "ClientHello" : String(reading.client);
          fake(server).waiting = String(reading.server);
          return reading;
        },
        hello: async (client) => {
          this.#step(`streams.hello ${nameOf(client)}`);
          fake(client).waiting = "ClientHello";
          return tlsBytes();
        },
        watchLogin: () => {},
        proxyHeader: async (client) => {
          const header = proxyHeader?.(this.#time("header"));
          if (header) this.#step(`streams.proxyHeader ${nameOf(client)}`);
          return header;
        },
        relay: async (client, hops, server, meter) => {
          const through = hops.length > 0 ? ` through ${hops.map(({ tool }) => tool).join(" ")}` : "";
          this.#step(`streams.relay ${describe(client)} and ${describe(server)}${through}`);
          const ending = this.#answers.relay?.();
          if (!ending?.reason) await this.#conversations.get(client);
          meter.fromClient += 1;
          return { ...ENDING, ...ending };
        },
        close: (connection) => this.#step(`streams.close ${nameOf(connection)}`),
        watchHellos: async () => this.#answers.hellos?.(),
      },
      requests: this.#requests(),
      upgrades: {
        watch: (port, begun) => {
          this.#step(`upgrades.watch port ${port}: ${begun}`);
          return watch?.();
        },
        watchTunnel: (port, begun, mayTunnel) => {
          this.#step(`upgrades.watchTunnel port ${port}: ${begun}${mayTunnel ? "" : ", no further"}`);
          return watch?.() ?? NOTHING_TO_WATCH;
        },
        watchInside: () => watchInside?.(),
        open: (client, server, _watch, strict) => {
          this.#step(`upgrades.open ${nameOf(client)} and ${nameOf(server)}${strict ? ", strictly" : ""}`);
          return this.#conversation(client, server);
        },
        look: (client, server) => this.#conversation(client, server),
        replay: async (server, { protocol }) => this.#step(`upgrades.replay ${protocol} to ${nameOf(server)}`),
        peek: async () => {
          this.#step("upgrades.peek");
          return peek?.() ?? false;
        },
      },
    };
  }

  #requests(): Node["requests"] {
    const { first, goesElsewhere } = this.#answers;
    return {
      first: async () => first?.() ?? { kind: "other" },
      open: (client, answering, { host, port }, rewrites) => {
        const ends = `${nameOf(client)} and ${nameOf(answering)}`;
        this.#step(`requests.open ${ends} for ${host} port ${port}${rewrites ? ", rewriting" : ""}`);
        const conversation: Partial<RequestConversation> = {
          left: () => (goesElsewhere?.() ? Promise.resolve("elsewhere") : new Promise(() => {})),
          leave: () => ({ client: this.end("client on another end"), server: undefined }),
        };
        return conversation as RequestConversation;
      },
      guard: (client) => this.#step(`requests.guard ${nameOf(client)}`),
      refuse: (client, status) => this.#step(`requests.refuse ${nameOf(client)} ${status}`),
    };
  }

  tlsStages(): Pick<Node, "legs" | "pki"> {
    const { serverLeg, clientLeg, judge, present, whyUndecryptable } = this.#answers;
    return {
      legs: {
        server: async (connection, _hello, { onlyAlpn }) => {
          const limit = onlyAlpn === undefined ? "" : ` with only ${onlyAlpn}`;
          this.#step(`legs.server on ${nameOf(connection.server)}${limit}`);
          const answer = await serverLeg?.(connection);
          if (answer && "leg" in answer) return answer;
          const { server } = connection;
          if (!answer) fake(server).name = `TLS on ${nameOf(server)}`;
          return { leg: answer ?? this.serverLeg(), server };
        },
        client: async (client, _received, _presented, { alpn }) => {
          this.#step(`legs.client on ${describe(client)}, ${alpn}`);
          fake(client).waiting = "";
          const failed = clientLeg?.();
          if (failed) return failed;
          fake(client).name = `TLS on ${nameOf(client)}`;
          return { kind: "up", negotiated: NEGOTIATED } satisfies ClientLeg;
        },
        own: async (client, _received, _presented, alpn) => {
          this.#step(`legs.own on ${describe(client)}, ${alpn}`);
          fake(client).name = `TLS on ${nameOf(client)}`;
          return clientLeg?.() ?? { kind: "up", negotiated: NEGOTIATED };
        },
        canAnswer: () => true,
        shown: () => undefined,
        whyUndecryptable: () => whyUndecryptable?.(),
        leavesOut: () => this.#answers.leavesOut?.() ?? false,
        refuse: (client, alert) => {
          this.#step(`legs.refuse ${nameOf(client)}: ${nameAlert(alert)}`);
          return alert;
        },
      },
      pki: {
        holdsKey: () => this.#answers.holdsKey?.() ?? false,
        judge: () => {
          this.#step("pki.judge");
          return judge?.() ?? judged();
        },
        presentOwn: async (host, _hello, authority) => {
          this.#step(`pki.presentOwn for ${host} by the ${authority} CA`);
          present?.();
          return { certificates: [], records: [{ authority, serial: "02", sha256: "bb", keyType: "ecdsa" }] };
        },
        present: async (_shown, _hello, _judged, names) => {
          this.#step(names ? `pki.present for ${names.join(" ")}` : "pki.present");
          present?.();
          const record = { authority: "primary", serial: "01", sha256: "aa", keyType: "ecdsa" } as const;
          return { certificates: [], records: [record] };
        },
      },
    };
  }

  pageStage(): Node["pages"] {
    const { page } = this.#answers;
    return (
      page && {
        signedBy: "secondary",
        write: ({ kind, host, rule = "none" }) => ({ status: 403, html: `${kind} for ${host} by ${rule}`, text: "" }),
        hello: async (client) => {
          this.#step(`pages.hello ${nameOf(client)}`);
          return this.#answers.admitted?.();
        },
        show: async (client, { html }) => {
          this.#step(`pages.show on ${nameOf(client)}: ${html}`);
          return page();
        },
        answer: (client, { html }) => {
          this.#step(`pages.answer on ${nameOf(client)}: ${html}`);
          return page();
        },
      }
    );
  }

  toolStages(): Pick<Node, "tools" | "feeds"> {
    const { tools, onlyAlpn, places } = this.#answers;
    return {
      tools: {
        connect: async ({ flow }, _wanted, onProgress) => {
          this.#step(`tools.connect ${flow}`);
          onProgress("SYN_SENT:INIT");
          const failure = tools?.();
          if (failure) return failure;
          onProgress("EST:EST");
          const hops = [{ tool: "ips", ta: this.end("Ta") }] as unknown as Chain["hops"];
          const passed = [{ name: "ips", state: "connected" }] as const;
          return { kind: "ready", hops, passed, release: () => this.#step("tools.release") };
        },
        onlyAlpn: () => onlyAlpn?.(),
      },
      feeds: {
        onlyAlpn: () => undefined,
        tap: ({ flow, description }) => {
          this.#step(`feeds.tap ${flow}: ${description}`);
          return { taps: [], places: places?.() ?? {}, close: () => this.#step("feeds.close") };
        },
      },
    };
  }

  serverLeg(): ServerLeg {
    const fingerprint256 = this.#answers.fingerprint?.(this.#time("fingerprint")) ?? "AA";
    const certificate = { fingerprint256 } as ServerLeg["certificate"];
    const negotiated = { ...NEGOTIATED, alpn: this.#answers.alpn?.() ?? NEGOTIATED.alpn };
    return { kind: "up", negotiated, certificate, ders: [], key: "", use: "sign" };
  }

  /** A connection that writes down what is done to it. */
  end(name: string, remote = "198.51.100.7"): End {
    const own: FakeEnd = {
      ...{ name, waiting: "", isOpen: true, isLeaving: this.#answers.isAnswered?.() ?? false },
      local: () => ({ address: "203.0.113.1", port: 40_000 }),
      remote: () => ({ address: remote, port: 443 }),
      reset: () => this.#step(`reset ${own.name}`),
      close: () => this.#step(`close ${own.name}`),
      skip(length) {
        own.waiting = own.waiting.slice(length);
      },
      writeBytes: (bytes) => this.#step(`write ${own.name}: ${bytes}`),
    };
    return own as unknown as End;
  }

  #conversation(client: End, server: End): UpgradableConversation {
    const over = Promise.withResolvers<void>();
    this.#conversations.set(client, over.promise);
    const own: Pick<UpgradableConversation, "next" | "plain" | "hold" | "resume" | "leave"> = {
      plain: async () => {
        if (!this.#answers.isPlain?.()) await new Promise(() => {});
        return "plain";
      },
      next: async () => {
        const next = this.#answers.next?.(this.#time("next"));
        if (next === "never") await new Promise(() => {});
        if (next === undefined) over.resolve();
        return next === "never" ? undefined : next;
      },
      hold: () => this.#step("conversation.hold"),
      resume: (watch) => {
        this.#step(`conversation.resume${watch ? ", watched" : ""}`);
        if (!watch) over.resolve();
      },
      leave: () => {
        this.#step("conversation.leave");
        over.resolve();
        return { client: this.#detached(client), server: this.#detached(server) };
      },
    };
    return own as UpgradableConversation;
  }

  /** The end on which this one's connection goes on. */
  #detached(before: End): End {
    const after = this.end(`the detached ${nameOf(before)}`);
    fake(after).waiting = fake(before).waiting;
    fake(before).waiting = "";
    return after;
  }

  #step(step: string): void {
    this.#steps.push(step);
  }

  #time(name: string): number {
    const time = (this.#times.get(name) ?? 0) + 1;
    this.#times.set(name, time);
    return time;
  }

  #numbered(name: string): string {
    const time = this.#time(name);
    return time === 1 ? name : `${name} ${time}`;
  }
}

function sessionHandle(
  steps: string[],
  record: SessionUpdate,
  onEnd: (ending: Ending | undefined) => void,
): SessionHandle {
  return {
    id: "1",
    client: { address: "198.51.100.7", port: 50_000 },
    meter: { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 },
    get rule() {
      return record.rule ?? null;
    },
    note(news) {
      if (news.state) steps.push(`state ${news.state}`);
      Object.assign(record, news);
    },
    noteDetails: () => {},
    close: (reason, _alerts, ending) => {
      steps.push(`end: ${reason}`);
      onEnd(ending);
    },
    reportBug: (error) => void steps.push(`bug: ${(error as Error).message}`),
    warnOfProxyHeader: ({ from }) => void steps.push(`warn: PROXY header from ${from.address}`),
    warnOfWithdrawnTls: (protocol) => void steps.push(`warn: ${protocol} withdrawn`),
  };
}

function memory(servers: Set<string>): ServerMemory {
  return { has: (server) => servers.has(server), learn: (server) => void servers.add(server) };
}

const NOTHING_TO_WATCH: Watch = {
  feed: () => ({ kind: "no" }),
  ...{ spoken: undefined, likely: false, awaiting: false, inBody: false, beyond: false },
};

const NEGOTIATED = {
  version: "TLSv1.3",
  suite: "TLS_AES_128_GCM_SHA256",
  group: "x25519",
  alpn: "h2",
  resumed: false,
} as const;

const ENDING: RelayEnding = {
  reason: "The client closed the connection",
  ...{ clientLeft: "closed", serverLeft: "closed", first: "client", failure: undefined },
};

export function verdict(action: Action, phase: Phase, rule = "a rule"): Verdict {
  return { action, phase, rule, reason: `${rule} says ${action}`, provisional: action === "decrypt" };
}

/** A server leg that did not come up. */
export function failure(alert: number, news: Partial<LegFailure> = {}): LegFailure {
  return { kind: "failed", cause: "alert", alert, code: "ALERT", reason: "The server refused the handshake", ...news };
}

export function judged(news: Partial<JudgedServer> = {}): JudgedServer {
  const names = { subject: "CN=server.test", issuer: "CN=ca.test", names: ["server.test"] };
  return {
    record: { ...names, sha256: "bb", ...{ sha1: "cc", serial: "02" }, notBefore: 0, notAfter: 1, faults: [] },
    facts: { names: names.names, issuer: names.issuer, faults: [], revocationOpen: false },
    held: [],
    ...news,
  };
}

/** The shortest ClientHello of TLS 1.2: one suite, no session, no extension. */
const HELLO = Buffer.from(`160301002d010000290303${"07".repeat(32)}000002c02b0100`, "hex");

/** First bytes that are a ClientHello. */
export function tlsBytes(news: Partial<ClientHello> = {}): Reading<Sighting> {
  const hello = helloOf({ serverName: "server.test", ...news });
  const sighting: Sighting = { kind: "match", sight: { protocol: "tls", hello } };
  return { answer: sighting, client: HELLO, server: Buffer.alloc(0) };
}

/** First bytes that are not TLS. */
export function plainBytes(client: string, server = ""): Reading<Sighting> {
  return { answer: { kind: "no" }, client: Buffer.from(client), server: Buffer.from(server) };
}

function helloOf(news: Partial<ClientHello>): ClientHello {
  const own: Partial<ClientHello> = {
    ...{ legacyVersion: 0x0303, versions: [0x0304, 0x0303], cipherSuites: [0x1301] },
    ...{ extensions: [], supportedGroups: [], ecPointFormats: [], signatureAlgorithms: [], alpnProtocols: ["h2"] },
  };
  return { ...own, ...news } as ClientHello;
}

/** The steps that follow the first one of this name. */
export function stepsAfter(step: string, steps: readonly string[]): string[] {
  return steps.slice(steps.indexOf(step) + 1);
}

/** What the story may ask of an end; whatever else it asked would end the test as a bug. */
interface FakeEnd
  extends Pick<End, "isOpen" | "isLeaving" | "local" | "remote" | "reset" | "close" | "skip" | "writeBytes"> {
  /** It says how many legs stand on the end. */
  name: string;
  /** Bytes that have come and that nobody has taken. */
  waiting: string;
}

export function fake(end: End): FakeEnd {
  return end as unknown as FakeEnd;
}

export function nameOf(end: End): string {
  return fake(end).name;
}

function describe(end: End): string {
  const { name, waiting } = fake(end);
  return waiting === "" ? name : `${name} from ${waiting}`;
}
