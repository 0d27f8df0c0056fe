import type { Feed, FeedFilter } from "./feed.ts";

/** Makes the `wants` of a feed with this filter. */
export function createFilter({ flows, rules }: FeedFilter): Feed["wants"] {
  const named = rules && new Set(rules);
  return ({ flow, rule }) => flows.includes(flow) && (named === undefined || (rule !== undefined && named.has(rule)));
}
