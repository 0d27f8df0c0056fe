import type { Destination } from "../capture/arrival.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Facts } from "../policy/facts.ts";
import type { Endpoint } from "../vocabulary.ts";
import { communityId } from "../wire/community-id.ts";
import { refuseArrival, refuseByListener } from "./refusal.ts";
import type { Story } from "./story.ts";

/** The part of a session's story in which both peers are connected: Nb, then Na. */

/**
 * Connects to the server: Nb. Addresses that the network phase drops, and those that no session may reach, are left out.
 * When no address is left, or none answers, the client is told in its listener's own way, and the answer is why.
 */
export async function reach(
  story: Story,
  destination: Destination,
  facts: Facts,
): Promise<{ readonly server: End; readonly endpoint: Endpoint } | string> {
  const { arrival, node, session, connections } = story;
  const { host, port } = destination;
  try {
    const judging = (await node.streams.resolve(host)).map(async (address) => {
      const to = { address, port };
      const refusal = await node.reach.refuse(arrival.listener, host, to);
      return { address, verdict: refusal ?? node.policy.onNetwork({ ...facts, server: to }) };
    });
    const judged = await Promise.all(judging);
    const addresses = judged.filter(({ verdict }) => verdict?.action !== "drop").map(({ address }) => address);
    const [first] = judged;
    if (first?.verdict && addresses.length === 0) return await refuseArrival(story, first.verdict, destination);

    const na = arrival.client ? "EST" : "SYN_RCV";
    const leadingTo = (to: Endpoint) => ({ server: to, communityId: communityId(session.client, to) ?? null });
    const wanted = { address: addresses[0] ?? host, port };
    session.note({ state: `${na}:SYN_SENT:INIT:INIT`, ...leadingTo(wanted) });
    const kept = arrival.server;
    const server = kept?.isOpen && !kept.hasLeft ? kept : await arrival.dial(addresses, port);
    connections.add(server);
    const endpoint = { address: server.remote()?.address ?? host, port };
    const other = endpoint.address !== wanted.address && leadingTo(endpoint);
    session.note({ state: `${na}:EST:INIT:INIT`, ...other, seenAs: server.local() ?? null });
    return { server, endpoint };
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const { code, message } = error;
    story.ending = { by: "server", code };
    const refusal = code === "ETIMEDOUT" ? { kind: "timeout" as const } : { kind: "unreachable" as const, code };
    await refuseByListener(story, destination, { ...refusal, message });
    return message;
  }
}

/** The server is there, so the client is let in: Na. */
export async function welcome({ arrival, session, connections, clientConnections }: Story): Promise<End> {
  const client = await arrival.welcome();
  connections.add(client);
  clientConnections.add(client);
  session.note({ state: "EST:EST:INIT:INIT" });
  return client;
}
