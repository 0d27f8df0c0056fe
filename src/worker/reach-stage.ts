import { isIP } from "node:net";
import { NetworkError } from "../errors.ts";
import type { ReachStage } from "../flow/stages.ts";
import { isOwnAddress } from "../linux/own-addresses.ts";
import type { WorkerSetup } from "../messages.ts";
import type { FetchSettings } from "../pki/revocation/revocation-fetch.ts";
import { compileReach, leadsTo, type Place, refusePlace, type Target } from "../policy/reach.ts";
import { resolveHost } from "../streams/resolve.ts";
import type { Endpoint } from "../vocabulary.ts";

/** ms after which the names of the node's places are resolved again, and ms for one of them. */
const FRESH = 30_000;
const PATIENCE = 5_000;
/** ms that the first sessions wait for a resolver. */
const FIRST = 1_000;

/** The node's own places, by configuration and now. */
export interface OwnPlaces {
  /** Whether a connection to this endpoint arrives at one of them. `host`: the name that the client used. */
  includes(to: Target, host?: string): Promise<boolean>;
}

/** Names are resolved now, and from time to time again while they are asked for. */
export function openPlaces(configured: WorkerSetup["reach"]["places"], now = () => performance.now()): OwnPlaces {
  // What is no name needs no resolver.
  let places: readonly Place[] = configured.map(({ host, port }) => ({ port, addresses: isIP(host) ? [host] : [] }));
  let resolvedAt = now();
  const hasNames = configured.some(({ host }) => isIP(host) === 0);
  const refresh = async () => {
    resolvedAt = now();
    const earlier = places;
    places = await Promise.all(configured.map((place, index) => resolvePlace(place, earlier[index])));
  };
  const ready = hasNames && Promise.race([refresh(), new Promise((resolve) => setTimeout(resolve, FIRST).unref())]);
  return {
    async includes(to, host) {
      await ready;
      // The answer does not wait for a resolver: it is for the sessions to come.
      if (hasNames && now() - resolvedAt > FRESH) void refresh();
      return (
        places.some((place) => leadsTo(place, to)) ||
        configured.some((place) => place.port === to.port && place.host === host?.toLowerCase())
      );
    },
  };
}

/** A name that cannot be resolved keeps the addresses that it had. */
async function resolvePlace({ host, port }: HostPort, earlier: Place | undefined): Promise<Place> {
  try {
    return { port, addresses: await resolveHost(host, PATIENCE) };
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return earlier ?? { port, addresses: [] };
  }
}

type HostPort = WorkerSetup["reach"]["places"][number];

/** `isAwaited`: whether a session waits at this port for its tool to connect back. Undefined: no tool has such ports. */
export function createReachStage(
  source: WorkerSetup["reach"],
  places: OwnPlaces,
  isAwaited: ((port: number) => Promise<boolean>) | undefined,
): ReachStage {
  const reach = compileReach(source);
  return {
    async refuse(listener, host, to) {
      const target = targetOf(to);
      if (await places.includes(target, host)) return refusePlace(to);
      if (isAwaited && target.isOwn() && (await isAwaited(to.port))) return refusePlace(to);
      return reach(listener, target);
    },
  };
}

/** What certificates name is never fetched from the node's own places, nor from this machine's other addresses. */
export function fetchSettings({ loopback }: { readonly loopback: boolean }, places: OwnPlaces): FetchSettings {
  return { loopback, isOwn: isOwnAddress, isPlace: (to) => places.includes(targetOf(to)) };
}

function targetOf(to: Endpoint): Target {
  return { ...to, isOwn: () => isOwnAddress(to.address) };
}
