import type { Feed, FeedFlow, FeedSession, TlsDetails, TlsSession } from "./feed.ts";

/** One session in a feed, as the relay uses it. */
interface Tap extends FeedFlow {
  /** Resolves when the feed can take more bytes; undefined: now. */
  pressure(): Promise<void> | undefined;
}

/** Copies of a session's bytes, for feeds. */
export interface FeedStage {
  /** Opens the session in every feed that wants it. */
  tap(session: FeedSession): SessionTaps;
  /** The only protocol that ALPN may agree on in a session that this rule decides; undefined: no feed limits it. */
  onlyAlpn(rule: string): "http/1.1" | undefined;
}

export interface SessionTaps {
  readonly taps: readonly Tap[];
  /** Where the session's copies are, by the feeds' names. */
  readonly places: Readonly<Record<string, string>>;
  close(): void;
}

/** Opens the session in every feed that wants it. `now` in ms since the epoch. */
export function openTaps(feeds: readonly Feed[], session: FeedSession, now: number): SessionTaps {
  const wanting = feeds.filter((feed) => feed.wants(session));
  const taps = wanting.map((feed): Tap => {
    const flow = feed.open(session, now);
    return Object.assign(flow, { pressure: () => feed.pressure() });
  });
  return {
    taps,
    // Read only now: opening a session may begin a new file.
    places: Object.fromEntries(wanting.flatMap(({ name, place }) => (place === undefined ? [] : [[name, place]]))),
    close() {
      for (const tap of taps) tap.close();
    },
  };
}

/** Makes `onlyAlpn` of these feeds. `limits`: what each was configured with, in the same order. */
export function alpnLimit(
  feeds: readonly Feed[],
  limits: readonly { readonly name: string; readonly alpn?: "http/1.1" | undefined }[],
): FeedStage["onlyAlpn"] {
  const limiting = feeds.filter((_, index) => limits[index]?.alpn !== undefined);
  return (rule) => (limiting.some((feed) => feed.wants({ flow: "decrypted", rule })) ? "http/1.1" : undefined);
}

/** Gives the keys of legs to the feeds that take keys; undefined: no feed does. */
export function keyTaker(feeds: readonly Feed[]): ((line: Buffer) => void) | undefined {
  const takers = feeds.filter(({ takeKey }) => takeKey !== undefined);
  if (takers.length === 0) return undefined;
  return (line) => {
    for (const feed of takers) feed.takeKey?.(line);
  };
}

/** Tells the feeds that log TLS of a session that is over. */
export function logSession(feeds: readonly Feed[], session: TlsSession, details: TlsDetails): void {
  if (session.protocol?.startsWith("tls") !== true) return;
  for (const feed of feeds) feed.takeSession?.(session, details);
}
