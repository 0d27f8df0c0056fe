import { isIP } from "node:net";
import { reachOf } from "../config/own-places.ts";
import type { Config } from "../config/schema.ts";
import { isOwnAddress } from "../linux/own-addresses.ts";
import type { Verdict } from "../policy/facts.ts";
import { compileReach, leadsTo, refusePlace } from "../policy/reach.ts";
import type { Endpoint } from "../vocabulary.ts";

/**
 * The verdict on a flow that must not lead there whatever the rules say: into the node itself, or where its listener does not reach.
 * Undefined: it may. Names of tools and stores are not resolved.
 */
export function refusedByReach(
  config: Config,
  listener: string,
  host: string | undefined,
  server: Endpoint,
): Verdict | undefined {
  const { places, ...source } = reachOf(config);
  const target = { ...server, isOwn: () => isOwnAddress(server.address) };
  const isPlace = places.some(
    (place) =>
      (place.port === server.port && place.host === host?.toLowerCase()) ||
      leadsTo({ port: place.port, addresses: addressesOf(place.host) }, target),
  );
  return isPlace ? refusePlace(server) : compileReach(source)(listener, target);
}

function addressesOf(host: string): readonly string[] {
  if (host === "localhost") return ["127.0.0.1", "::1"];
  return isIP(host) === 0 ? [] : [host];
}
