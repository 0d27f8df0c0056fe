import { type ListenerCount, readListenerCounts } from "../kernel/listeners.ts";
import { log } from "../log.ts";
import type { NodeState } from "./state.ts";

/** ms after the start: connections that began before it have shown themselves by then, if they are in use. */
const SETTLED = 10_000;
/** ms between two looks for VLANs that the configuration does not name. */
const LOOK = 60_000;

/** What each counter's packets are, for people. */
const UNSEEN: Readonly<Record<string, string>> = {
  midStream: "of connections that began before the node",
  tagged: "with a VLAN tag",
  asymmetric: "of connections of which only one direction crosses the node",
  linkLocal: "that begin connections of link-local addresses",
  signed: "that begin BGP or signed TCP",
  unserved: "of connections that no worker took",
  fragments: "that never became whole from their fragments, on the whole machine",
};

type Counting = Pick<NodeState, "inline">;

/**
 * Logs, a while after the start, what has passed each inline listener unseen; and from then on each VLAN that crosses a bridge without
 * being named, once. Returns a function that ends it.
 */
export function reportUnseen(state: Counting): () => void {
  if (!state.inline) return () => {};
  const told = new Set<string>();
  const look = (then: (counted: readonly ListenerCount[]) => void) =>
    void readListenerCounts(state.inline).then(then, (error: unknown) => log.warn({ err: error }, FAILED));
  let timer = setTimeout(() => {
    look((counted) => {
      report(counted);
      noticeVlans(counted, told);
    });
    timer = setInterval(() => look((counted) => noticeVlans(counted, told)), LOOK).unref();
  }, SETTLED).unref();
  // One function clears both kinds of timers.
  return () => clearTimeout(timer);
}

const FAILED = "Cannot read the kernel's counters of what passed unseen";

function report(counted: readonly ListenerCount[]): void {
  const ofMachine = counted.filter(({ listener }) => listener === "");
  for (const listener of new Set(counted.map((one) => one.listener))) {
    if (listener === "") continue;
    const own = [...counted.filter((one) => one.listener === listener), ...ofMachine];
    const bypassed = own.filter(({ counts }) => counts === "row").reduce((sum, { packets }) => sum + packets, 0);
    const parts = own.flatMap(({ counts, packets }) =>
      UNSEEN[counts] !== undefined && packets > 0 ? [`${packets} ${UNSEEN[counts]}`] : [],
    );
    if (bypassed > 0) parts.push(`${bypassed} that the network phase decided`);
    const what = parts.length === 0 ? "nothing" : `packets: ${parts.join(", ")}`;
    log.info({ listener }, `Passed unseen since the start: ${what}. clearline stats counts on`);
  }
}

/** The kernel's sets bound how many there are. */
function noticeVlans(counted: readonly ListenerCount[], told: Set<string>): void {
  for (const { listener, counts, name } of counted) {
    const key = JSON.stringify([listener, name]);
    if (counts !== "vlan" || told.has(key)) continue;
    told.add(key);
    log.warn(
      { listener, vlan: name },
      `Frames of VLAN ${name} cross the bridge unseen: name it in vlans to have its TLS decrypted`,
    );
  }
}
