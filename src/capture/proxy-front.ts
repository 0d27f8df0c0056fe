import { type ProxyHeaderSight, sightProxyHeader } from "../detect/proxy-header.ts";
import type { End } from "../engine/end.ts";
import type { Accept } from "../engine/listen.ts";
import { NetworkError } from "../errors.ts";
import { readUntil } from "../streams/reading.ts";
import type { Endpoint } from "../vocabulary.ts";
import type { BegunWith } from "./arrival.ts";
import type { CaptureContext } from "./mode.ts";

/** Load balancers in front of a listener, which say with a header of the PROXY protocol who the client is. */

/** `proxyProtocol` of a listener. */
export interface ProxyFront {
  /** Addresses, subnets and ranges. Undefined: every connection begins with a header. */
  readonly from?: readonly string[] | undefined;
}

/** A connection behind its header. */
export interface Fronted {
  readonly client: End;
  /** The client's address: that of the header. */
  readonly from: Endpoint;
  readonly begunWith: BegunWith;
  /** The header itself. */
  readonly header: Buffer;
}

/**
 * Takes the header off connections before they arrive. Those that are not expected to begin with one arrive as they are. `refuse` is
 * called for a connection without the header that it must have.
 */
export function behindProxies(
  front: ProxyFront | undefined,
  { settings, addresses }: Pick<CaptureContext, "settings" | "addresses">,
  arrive: {
    plain(client: End, from: Endpoint): void;
    fronted(fronted: Fronted): void;
    refused(client: End, from: Endpoint, reason: string): void;
  },
): Accept {
  if (!front) return arrive.plain;
  const expects = front.from ? addresses(front.from) : () => true;
  /** Connections whose header has not come, the oldest first. They are no sessions yet. */
  const waiting = new Set<End>();
  return (client, from) => {
    if (!expects(from.address)) {
      arrive.plain(client, from);
      return;
    }
    const [oldest] = waiting;
    if (oldest && waiting.size >= settings().sessions) oldest.reset();
    waiting.add(client);
    client.onceClosed(() => waiting.delete(client));
    readHeader(client, settings().timeouts.hello).then(
      (header) => {
        waiting.delete(client);
        if (!header) return client.close();
        if (typeof header === "string") return arrive.refused(client, from, header);
        const { version, source = null, bytes } = header;
        const begunWith = { version, client: source, from, believed: true };
        arrive.fronted({ client, from: source ?? from, begunWith, header: bytes });
      },
      // It has left, or was late.
      () => client.reset(),
    );
  };
}

/** The header, taken off; why there is none, as a sentence; undefined: the client left before its first byte. */
async function readHeader(
  client: End,
  gap: number,
): Promise<(ProxyHeaderSight & { readonly bytes: Buffer }) | string | undefined> {
  let begun: Buffer = Buffer.alloc(0);
  const judge = (_side: unknown, bytes: Buffer) => {
    begun = Buffer.concat([begun, bytes]);
    const sighting = sightProxyHeader(begun);
    return sighting.kind === "likely" || sighting.kind === "unlikely" ? undefined : sighting;
  };
  const { answer } = await readUntil({ client }, judge, { silence: gap, gap });
  if (!answer && begun.length === 0) return undefined;
  if (answer?.kind === "malformed") return answer.message;
  if (answer?.kind !== "header") return "The connection did not begin with the PROXY header that its listener expects";
  if (!client.isOpen) throw new NetworkError("The client left behind its header", "ECONNRESET");
  client.skip(answer.length);
  return { ...answer, bytes: Buffer.from(begun.subarray(0, answer.length)) };
}
