import { type FeedConfig, feedRow } from "./feed.ts";
import type { HostPort } from "./formats.ts";
import { type ListenerConfig, listenerRow } from "./listener.ts";
import type { Located, Row } from "./row.ts";
import type { Config } from "./schema.ts";
import { type ToolConfig, toolRow } from "./tool.ts";

/** An address at which the node listens, and the key that sets it. */
export interface ListeningPlace {
  /** "listeners[0].address" */
  readonly path: string;
  /** For messages: "listeners[0]", "the console". */
  readonly owner: string;
  readonly address: HostPort;
  /** A worker does not start while another program uses the port. */
  readonly required: boolean;
}

interface Listeners {
  readonly listeners: readonly Located<ListenerConfig>[];
  readonly tools: readonly Located<ToolConfig>[];
  readonly feeds: readonly Located<FeedConfig>[];
}

/** Every address at which listeners, tools and feeds have the node listen. */
export function listeningPlaces({ listeners, tools, feeds }: Listeners): ListeningPlace[] {
  return [
    ...listeners.flatMap((listener) => placesOf(listener, listenerRow(listener.value))),
    ...feeds.flatMap((feed) => placesOf(feed, feedRow(feed.value))),
    ...tools.flatMap((tool) => placesOf(tool, toolRow(tool.value))),
  ];
}

function placesOf<Value>({ path, value }: Located<Value>, { listensAt }: Row<Value>): ListeningPlace[] {
  const places = listensAt?.(value) ?? [];
  return places.map(({ key, address, required }) => ({ path: `${path}.${key}`, owner: path, address, required }));
}

/** The addresses whose ports must be free before the workers start. */
export function requiredPorts({ listeners, tools, feeds }: Config): (HostPort & { readonly path: string })[] {
  const places = listeningPlaces({
    listeners: located("listeners", listeners),
    tools: located("tools", tools),
    feeds: located("feeds", feeds),
  });
  return places.filter(({ required }) => required).map(({ address, path }) => ({ ...address, path }));
}

/** The entries of a list, each with its path. */
export function located<Value>(list: string, values: readonly Value[]): Located<Value>[] {
  return values.map((value, index) => ({ path: `${list}[${index}]`, value }));
}
