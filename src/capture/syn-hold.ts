import { Cache } from "../cache.ts";
import type { End } from "../engine/end.ts";
import type { SentHeader } from "../engine/ip-header.ts";
import { NetworkError } from "../errors.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { Arrival, ConnectFrom, Refusal } from "./arrival.ts";

/** The verdict on a held SYN. "drop": the client gets no answer, and sends its SYN again or gives up. */
export type SynVerdict = "release" | "pass" | "reset" | "hostUnreachable" | "netUnreachable" | "prohibited" | "drop";

/** A client's SYN that the kernel holds until its verdict. */
export interface HeldSyn {
  readonly source: Endpoint;
  readonly destination: Endpoint;
  /** The initial sequence number. A retransmitted SYN has the same number, a new connection another one (RFC 6528). */
  readonly sequence: number;
  /** What the packets to the server say. */
  readonly header: SentHeader;
  /** Called exactly once. */
  decide(verdict: SynVerdict): void;
}

export interface SynHoldOptions {
  readonly listener: { readonly name: string; readonly vlan: string | null; readonly unreachable: "reset" | "silent" };
  readonly connectFrom: ConnectFrom;
  /** A SYN of a client of this server goes on to the listening socket, whose answer is to say what the server's said. */
  readonly releasing: (server: End | undefined) => void;
  readonly accepted: (client: End, server: End | undefined) => void;
  /** ms for a client whose SYN was released to complete its handshake. */
  readonly patience: number;
  /** The most SYNs that are held at one time. Further SYNs pass: the client is accepted before the server is reached. */
  readonly limit: () => number;
  /** A session begins with its SYN. */
  readonly arrive: (arrival: Arrival) => void;
}

/**
 * The most SYNs that one of so many listeners and VLANs holds: half of the worker's sessions for all of them. Anybody can send SYNs in
 * the name of others, and their sessions cannot give way: they must leave room for clients that are connected.
 */
export function mostHeld(sessions: number, lanes: number): number {
  return Math.ceil(sessions / 2 / lanes);
}

/** The most verdicts that are remembered after their SYN. */
const REMEMBERED = 4_096;

/** A session whose client has not been accepted yet. */
interface HeldSession {
  readonly key: string;
  readonly sequence: number;
  state: "held" | "released" | "decided";
  /** The first connection to the server. */
  server: End | undefined;
  /** Once its connection has been accepted. */
  client: End | undefined;
  claimed(client: End): void;
  /** The client has refused what answered its SYN: it was not this node. */
  refused(): void;
}

/**
 * Holds a client's SYN while the node connects to the server (states 1 and 2 in docs/glossary.md). So a closed port looks closed to
 * the client, and an unreachable host unreachable.
 */
export class SynHold {
  readonly #options: SynHoldOptions;
  readonly #held = new Map<string, HeldSession>();
  /** A retransmitted SYN may be on its way while the verdict is given. It must not begin a second session. */
  readonly #decided = new Cache<SynVerdict>({ entries: REMEMBERED, bytes: 2 * 2 ** 20, sizeOf: () => 0 });

  constructor(options: SynHoldOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#held.size;
  }

  /** Holds a SYN, and begins its session. */
  hold(syn: HeldSyn): void {
    const key = flowKey(syn.source, syn.destination);
    const known = this.#held.get(key);
    const before = this.#decided.find(`${key} ${syn.sequence}`);
    // A retransmitted SYN: until the server is reached it changes nothing; afterwards it asks for the lost SYN-ACK.
    if (known?.state === "released") this.#letGo(syn, known);
    else if (known) syn.decide("drop");
    else if (before) syn.decide(before);
    else if (this.#held.size >= this.#options.limit()) syn.decide("pass");
    else this.#begin(key, syn);
  }

  /** Whether this accepted connection belongs to a released SYN. Then the session of the SYN takes it over. */
  claim(client: End, source: Endpoint, destination: Endpoint): boolean {
    const session = this.#held.get(flowKey(source, destination));
    if (session?.state !== "released") return false;
    this.#forget(session, "release");
    session.claimed(client);
    return true;
  }

  /** A client has sent a RST. Whether its SYN is held here: then the server's answer has reached it by another way. */
  refused(source: Endpoint, destination: Endpoint): boolean {
    const session = this.#held.get(flowKey(source, destination));
    if (session?.state !== "held") return false;
    session.refused();
    return true;
  }

  #begin(key: string, syn: HeldSyn): void {
    const { source, destination, sequence } = syn;
    const { listener, connectFrom, arrive } = this.#options;
    const refused = Promise.withResolvers<never>();
    refused.promise.catch(() => {});
    const session: HeldSession = {
      ...{ key, sequence, state: "held", server: undefined, client: undefined, claimed: () => {} },
      refused: () => refused.reject(new NetworkError(ASYMMETRIC, "EASYMMETRIC")),
    };
    this.#held.set(key, session);
    const connect: ConnectFrom = (...ends) => {
      const connected = connectFrom(...ends);
      // A server that answers later, by this way, finds nobody.
      refused.promise.catch(() => connected.then((end) => end.close()).catch(() => {}));
      return Promise.race([connected, refused.promise]).then((end) => {
        session.server ??= end;
        return end;
      });
    };
    arrive({
      listener: listener.name,
      vlan: listener.vlan,
      mode: "inline",
      from: source,
      get client() {
        return session.client;
      },
      locate: async () => ({ host: destination.address, port: destination.port, connectHost: null, http: false }),
      dial: ([address = destination.address], port) => connect(source, { address, port }, syn.header),
      welcome: () => this.#release(syn, session),
      refuse: (refusal) => void this.#refuse(syn, session, answerTo(refusal, listener.unreachable)),
    });
  }

  /** Lets the SYN go on to the node's listening socket. Resolves with the client's connection. */
  #release(syn: HeldSyn, session: HeldSession): Promise<End> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#held.delete(session.key);
        reject(new NetworkError("The client did not complete its TCP handshake", "ETIMEDOUT"));
      }, this.#options.patience);
      session.claimed = (client) => {
        clearTimeout(timer);
        session.client = client;
        this.#options.accepted(client, session.server);
        resolve(client);
      };
      if (session.state !== "held") return;
      session.state = "released";
      this.#letGo(syn, session);
    });
  }

  #letGo(syn: HeldSyn, { server }: HeldSession): void {
    this.#options.releasing(server);
    syn.decide("release");
  }

  #refuse(syn: HeldSyn, session: HeldSession, verdict: SynVerdict): void {
    if (session.state !== "held") return;
    session.state = "decided";
    syn.decide(verdict);
    this.#forget(session, verdict);
  }

  #forget({ key, sequence }: HeldSession, verdict: SynVerdict): void {
    this.#held.delete(key);
    // After "drop" the client has no answer yet: its next SYN begins a session again.
    if (verdict !== "drop") this.#decided.keep(`${key} ${sequence}`, verdict);
  }
}

/** The answer that the network would give the client without the node; `silence` is the one for a server that gave none. */
function answerTo(refusal: Refusal, silence: "reset" | "silent"): SynVerdict {
  if (refusal.kind === "timeout") return silence === "reset" ? "reset" : "drop";
  if (refusal.kind === "policy") return "reset";
  return UNREACHABLE[refusal.code] ?? "reset";
}

const ASYMMETRIC = "The server's answer took another way: only one direction of this connection crosses the node";

const UNREACHABLE: Readonly<Record<string, SynVerdict>> = {
  EHOSTUNREACH: "hostUnreachable",
  EHOSTDOWN: "hostUnreachable",
  ENETUNREACH: "netUnreachable",
  // ICMPv6: administratively prohibited. Of IPv4's the kernel makes EHOSTUNREACH.
  EACCES: "prohibited",
  // The client has given up.
  EASYMMETRIC: "drop",
};

function flowKey(source: Endpoint, destination: Endpoint): string {
  return `${source.address} ${source.port} ${destination.address} ${destination.port}`;
}
