import { createAddressSet } from "./address-set.ts";
import { createHostSet } from "./host-set.ts";
import type { Entry } from "./rule.ts";
import type { View } from "./view.ts";

/** The entries that are judged one after the other in one phase. */
export interface Stage {
  readonly entries: readonly Entry[];
  /** The first entry that is true of a flow, in the order of `entries`. */
  first(view: View): Entry | undefined;
}

/**
 * Prepares a stage. Thousands of rules are not judged one by one: a rule that names hosts, servers or clients is
 * judged only for flows that one of these matches, since one false condition makes a rule false.
 */
export function createStage(entries: readonly Entry[]): Stage {
  const selected = entries.map(({ match }, position) => ({ match, position }));
  const named = (condition: Selector) =>
    selected.flatMap(({ match, position }) =>
      selectorOf(match) === condition
        ? (match?.[condition] ?? []).map((value) => [String(value), position] as const)
        : [],
    );
  const byHost = createHostSet(named("host"));
  const byServer = createAddressSet(named("server"));
  const byClient = createAddressSet(named("client"));
  const others = selected.filter(({ match }) => selectorOf(match) === undefined).map(({ position }) => position);

  return {
    entries,
    first(view) {
      const candidates = [
        ...view.hosts.names.flatMap((name) => byHost.find(name)),
        ...(view.serverAddress ? byServer.find(view.serverAddress) : []),
        ...(view.clientAddress ? byClient.find(view.clientAddress) : []),
      ].sort((a, b) => a - b);
      for (const position of inOrder(others, candidates)) {
        const entry = entries[position];
        if (entry?.judge(view) === true) return entry;
      }
      return undefined;
    },
  };
}

/** By which of its conditions a rule is found. One is enough; the first here is the one that tells most flows apart. */
const SELECTORS = ["host", "server", "client"] as const;
type Selector = (typeof SELECTORS)[number];

function selectorOf(match: Entry["match"]): Selector | undefined {
  return SELECTORS.find((condition) => match?.[condition] !== undefined);
}

/** Two ascending lists as one. */
function* inOrder(left: readonly number[], right: readonly number[]): Generator<number> {
  let at = 0;
  for (const position of left) {
    for (; at < right.length && (right[at] ?? 0) < position; at += 1) yield right[at] ?? 0;
    yield position;
  }
  yield* right.slice(at);
}
