import { type Action, FAULTS } from "../vocabulary.ts";

import type { PolicySource } from "./rule.ts";

/** A policy's actions for faults: one action for all, with changes. */
export function faultActions(
  action: Action,
  changes: Partial<PolicySource["certificate"]> = {},
): PolicySource["certificate"] {
  const all = Object.fromEntries(FAULTS.map((fault) => [fault, action])) as PolicySource["certificate"];
  return { ...all, ...changes };
}
