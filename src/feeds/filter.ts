import type { Feed, FeedFilter } from "./feed.ts";

/** What a feed that has this filter `wants`. */
export function createFilter({ flows, rules }: FeedFilter): Feed["wants"] {
  const named = rules && new Set(rules);
  return ({ flow, rule }) => flows.includes(flow) && (named === undefined || (rule !== undefined && named.has(rule)));
}
