import type { Opening, Sighting } from "./detector.ts";
import { openTls } from "./tls.ts";

/** The protocols that are recognised, preferred in this order. A new one is one file and one row. */
const DETECTORS: readonly (() => Opening)[] = [openTls];

/** Feeds every detector. The first match is the answer, or "no" once every detector has said no. That answer is final. */
export function openDetectors(): Opening {
  let watching = DETECTORS.map((open) => open());
  let final: Sighting | undefined;
  return {
    feed(side, bytes) {
      if (final) return final;
      const still: Opening[] = [];
      for (const opening of watching) {
        const sighting = opening.feed(side, bytes);
        if (sighting.kind === "match") {
          final = sighting;
          return sighting;
        }
        if (sighting.kind === "more") still.push(opening);
      }
      watching = still;
      if (still.length > 0) return { kind: "more" };
      final = { kind: "no" };
      return final;
    },
  };
}
