import type { ReachSource } from "../policy/reach.ts";
import { type HostPort, isLoopbackHost } from "./formats.ts";
import { listeningPlaces, located } from "./listening.ts";
import type { Config } from "./schema.ts";
import { toolRow } from "./tool.ts";

/** Where the listeners' clients may not go, and the places that belong to the node itself. */
export function reachOf(config: Config): ReachSource & { readonly places: readonly HostPort[] } {
  const { listeners, tools, feeds, resumption } = config;
  const places = listeningPlaces({
    listeners: located("listeners", listeners),
    tools: located("tools", tools),
    feeds: located("feeds", feeds),
  });
  const used = tools.flatMap((tool) => toolRow(tool).connectsTo?.(tool) ?? []);
  return {
    listeners: Object.fromEntries(
      listeners.flatMap((one) => (one.mode === "explicit" ? [[one.name, one.reach ?? defaultReach(one.address)]] : [])),
    ),
    places: [
      config.console.address,
      ...places.map(({ address }) => address),
      ...used.map(({ address }) => address),
      ...(resumption.shared === undefined ? [] : [storePlace(resumption.shared)]),
    ],
  };
}

function defaultReach({ host }: HostPort): readonly string[] {
  return isLoopbackHost(host) ? ["all"] : [];
}

const REDIS_PORT = 6379;

function storePlace(url: string): HostPort {
  const { hostname, port } = new URL(url);
  return { host: hostname.replace(/^\[|\]$/g, "").toLowerCase(), port: port === "" ? REDIS_PORT : Number(port) };
}
