import type { End } from "../engine/end.ts";
import { type SentHeader, savedSyn, sendHeader } from "../engine/ip-header.ts";
import { type IpHeader, readIpHeader, readSynAck } from "../linux/packet.ts";
import type { Endpoint } from "../vocabulary.ts";

/**
 * Carries hop limit and traffic class (TTL and TOS in IPv4) from one leg of a connection to the other, as they are in its first packets:
 * the client's SYN and the server's answer. So RFC 5082 and markings for quality of service work across the node.
 */

/** What the kernel does on its own. */
const USUAL: SentHeader = { hopLimit: -1, trafficClass: 0 };
/** Answers that nobody has asked for: of servers whose session was given up. */
const MOST = 4_096;

/** Gives copies of the servers' answers, from their IP headers on, that have come since. */
export interface AnswerSource {
  read(): Iterable<Buffer>;
}

/** The way between the two sides of one lane. */
export class Way {
  /** The node's own hops: a router is one. */
  readonly #hops: number;
  readonly #answers: AnswerSource | undefined;
  readonly #unclaimed = new Map<string, IpHeader>();
  /** By the connection to a server: what its answer said, and the client's leg says. */
  readonly #toClient = new WeakMap<End, SentHeader>();
  /** By the connection of a client: what its SYN said. It can be asked once. */
  readonly #saved = new WeakMap<End, SentHeader>();

  constructor(hops: number, answers: AnswerSource | undefined) {
    this.#hops = hops;
    this.#answers = answers;
  }

  /** As the packet leaves on the other side. */
  onward({ hopLimit, trafficClass }: IpHeader): SentHeader {
    return { hopLimit: Math.max(1, hopLimit - this.#hops), trafficClass };
  }

  /** Of a client that was accepted before its server is connected. */
  ofAccepted(client: End): SentHeader {
    const known = this.#saved.get(client);
    if (known) return known;
    const header = savedHeader(client);
    const sent = header ? this.onward(header) : {};
    this.#saved.set(client, sent);
    return sent;
  }

  /** This connection to a server is there. */
  reached(server: End, to: Endpoint): void {
    const from = server.local();
    if (!this.#answers || !from) return;
    for (const packet of this.#answers.read()) {
      const answer = readSynAck(packet);
      if (answer) this.#keep(keyOf(answer.destination, answer.source), answer.header);
    }
    const key = keyOf(from, to);
    const header = this.#unclaimed.get(key);
    this.#unclaimed.delete(key);
    if (header) this.#toClient.set(server, this.onward(header));
  }

  /** What goes to the client of this server. */
  toClient(server: End | undefined): SentHeader {
    return (server && this.#toClient.get(server)) ?? USUAL;
  }

  #keep(key: string, header: IpHeader): void {
    // A server that repeats its answer is the newest again.
    this.#unclaimed.delete(key);
    this.#unclaimed.set(key, header);
    const [oldest] = this.#unclaimed.keys();
    if (this.#unclaimed.size > MOST && oldest !== undefined) this.#unclaimed.delete(oldest);
  }
}

/** What the SYN of an accepted client said. Answers once; undefined: its listening socket saves none. */
export function savedHeader(client: End): IpHeader | undefined {
  const syn = savedSyn(client.fd);
  return syn && readIpHeader(syn);
}

/** The client's packets, from here on. */
export function speakAs(client: End, header: SentHeader): void {
  const to = client.remote();
  if (to) sendHeader(client.fd, to.address, header);
}

function keyOf(client: Endpoint, server: Endpoint): string {
  return `${client.address} ${client.port} ${server.address} ${server.port}`;
}
