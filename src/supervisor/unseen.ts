import { readListenerCounts } from "../kernel/listeners.ts";
import { log } from "../log.ts";
import type { NodeState } from "./state.ts";

/** ms after the start: connections that began before it have shown themselves by then, if they are in use. */
const SETTLED = 10_000;

/** What each counter's packets are, for people. */
const UNSEEN: Readonly<Record<string, string>> = {
  midStream: "of connections that began before the node",
  tagged: "with a VLAN tag",
  asymmetric: "of connections of which only one direction crosses the node",
  signed: "that begin BGP or signed TCP",
  unserved: "of connections that no worker took",
};

/** Logs once, a while after the start, what has passed each inline listener unseen. Returns a function that cancels it. */
export function reportUnseen(state: Pick<NodeState, "inline">): () => void {
  if (!state.inline) return () => {};
  const timer = setTimeout(
    () => void report(state).catch((error: unknown) => log.warn({ err: error }, FAILED)),
    SETTLED,
  );
  timer.unref();
  return () => clearTimeout(timer);
}

const FAILED = "Cannot read the kernel's counters of what passed unseen";

async function report({ inline }: Pick<NodeState, "inline">): Promise<void> {
  const counted = await readListenerCounts(inline);
  for (const listener of new Set(counted.map((one) => one.listener))) {
    const own = counted.filter((one) => one.listener === listener);
    const bypassed = own.filter(({ counts }) => counts === "row").reduce((sum, { packets }) => sum + packets, 0);
    const parts = own.flatMap(({ counts, packets }) =>
      UNSEEN[counts] !== undefined && packets > 0 ? [`${packets} ${UNSEEN[counts]}`] : [],
    );
    if (bypassed > 0) parts.push(`${bypassed} that the network phase decided`);
    const what = parts.length === 0 ? "nothing" : `packets: ${parts.join(", ")}`;
    log.info({ listener }, `Passed unseen since the start: ${what}. clearline stats counts on`);
  }
}
