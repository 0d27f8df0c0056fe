import { createAddressSet } from "./address-set.ts";
import { createHostSet } from "./host-set.ts";
import type { Step } from "./rule.ts";
import type { View } from "./view.ts";

/** The steps of one phase, in the order in which they are judged. */
export interface Stage {
  readonly steps: readonly Step[];
  /** The first step that is true of a flow. */
  first(view: View): Step | undefined;
  /** Names the lists and rules that a host is in: hosts of which this is the same are judged alike. */
  selected(host: string): string;
  /** The hosts directly below this name that lists and rules name. */
  hostsBelow(parent: string): readonly string[];
}

/**
 * Indexes the steps, so that thousands of rules are not judged one by one. A rule that names hosts, servers or clients is
 * judged only for flows that match one of these: one false condition makes the whole rule false.
 */
export function createStage(steps: readonly Step[]): Stage {
  const selected = steps.map(({ match }, position) => ({ match, position }));
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

  const lists = steps.flatMap(({ hosts }) => hosts ?? []);
  return {
    steps,
    selected: (host) => [...byHost.find(host), ...lists.map((list) => list.find(host).length > 0)].join(),
    hostsBelow: (parent) => [byHost, ...lists].flatMap((set) => set.below(parent)),
    first(view) {
      const candidates = [
        ...view.hosts.names.flatMap((name) => byHost.reach(name)),
        ...(view.serverAddress ? byServer.find(view.serverAddress) : []),
        ...(view.clientAddress ? byClient.find(view.clientAddress) : []),
      ].sort((a, b) => a - b);
      for (const position of inOrder(others, candidates)) {
        const step = steps[position];
        if (step?.judge(view) === true) return step;
      }
      return undefined;
    },
  };
}

/** The condition that a rule is indexed by: the first of these that it has. Hosts differ most between flows. */
const SELECTORS = ["host", "server", "client"] as const;
type Selector = (typeof SELECTORS)[number];

function selectorOf(match: Step["match"]): Selector | undefined {
  return SELECTORS.find((condition) => match?.[condition] !== undefined);
}

/** Merges two ascending lists. */
function* inOrder(left: readonly number[], right: readonly number[]): Generator<number> {
  let at = 0;
  for (const position of left) {
    for (; at < right.length && (right[at] ?? 0) < position; at += 1) yield right[at] ?? 0;
    yield position;
  }
  yield* right.slice(at);
}
