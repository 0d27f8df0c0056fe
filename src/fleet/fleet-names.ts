import type { Sealer } from "../resumption/seal.ts";

const PARTS = {
  sessions: "s",
  tickets: "t",
  mint: "m",
  demanding: "d",
  bypasses: "b",
  authorities: "a",
  nodes: "n",
  epochs: "e",
  news: "news",
  to: "to",
} as const;

/** What the fleet keeps in the store, and the channels on which its nodes talk: news to all, `to` to one node. */
export type FleetPart = keyof typeof PARTS;

/**
 * Names and seals what a fleet puts into its store. Nodes do not trust the store: what is sealed for one place opens in no other,
 * so the store cannot pass one thing off as another, and the names say nothing of clients and servers.
 */
export interface FleetNames {
  /** A key or channel. `rest` is readable in it: hash what must not be. */
  key(part: FleetPart, ...rest: readonly (string | number)[]): string;
  hash(part: FleetPart, text: string): string;
  seal(place: string, content: object): Buffer;
  /** Undefined when there is nothing, or nothing that a node of this fleet sealed for this place. */
  open(place: string, sealed: Buffer | undefined): Buffer | undefined;
}

export function createFleetNames(sealer: Sealer): FleetNames {
  // Fleets with other secrets may use the same store.
  const fleet = `clearline:${sealer("fleet", []).name.slice(0, 16)}`;
  return {
    key: (part, ...rest) => [fleet, PARTS[part], ...rest].join(":"),
    hash: (part, text) => sealer(part, [text]).name,
    seal: (place, content) =>
      sealer("place", [place]).seal(content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content))),
    open: (place, sealed) => sealed && sealer("place", [place]).open(sealed),
  };
}
