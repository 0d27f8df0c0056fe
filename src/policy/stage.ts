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
  /** The hosts directly below this name that lists and rules name; of each list, `most` at most. */
  hostsBelow(parent: string, most: number): readonly string[];
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
    hostsBelow: (parent, most) => [byHost, ...lists].flatMap((set) => set.below(parent, most)),
    first(view) {
      const candidates: number[] = [];
      if (byHost.size > 0) for (const name of view.hosts.names) candidates.push(...byHost.reach(name));
      if (byServer.size > 0 && view.serverAddress) candidates.push(...byServer.find(view.serverAddress));
      if (byClient.size > 0 && view.clientAddress) candidates.push(...byClient.find(view.clientAddress));
      if (candidates.length > 1) candidates.sort((a, b) => a - b);
      return firstTrue(steps, view, others, candidates);
    },
  };
}

/** The condition that a rule is indexed by: the first of these that it has. Hosts differ most between flows. */
const SELECTORS = ["host", "server", "client"] as const;
type Selector = (typeof SELECTORS)[number];

function selectorOf(match: Step["match"]): Selector | undefined {
  return SELECTORS.find((condition) => match?.[condition] !== undefined);
}

/** The first step that is true, of two ascending lists of positions. Every session asks a dozen times: nothing is allocated. */
function firstTrue(
  steps: readonly Step[],
  view: View,
  left: readonly number[],
  right: readonly number[],
): Step | undefined {
  for (let [one, other] = [0, 0]; one < left.length || other < right.length; ) {
    const isRight = other < right.length && !(left[one]! <= right[other]!);
    const step = steps[isRight ? right[other]! : left[one]!];
    if (isRight) other += 1;
    else one += 1;
    if (step?.judge(view) === true) return step;
  }
  return undefined;
}
