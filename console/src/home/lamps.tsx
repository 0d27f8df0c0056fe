import type { Stats } from "../../../src/control/api.ts";
import { number } from "../format.ts";
import { Lamp, type LampState } from "../parts/marks.tsx";

/** A lamp for each part of the node, with its reason on hover and for screen readers. */
export function Lamps({ stats }: { stats: Stats }) {
  const { workers, tools, feeds, history, store, health } = stats;
  const toolsDown = tools.filter(({ state }) => state === "down");
  const feedsDown = feeds.filter(({ state }) => state === "stopped");
  const lamps: readonly (readonly [name: string, state: LampState, reason: string])[] = [
    ["Node", HEALTH[health.status], health.reasons.map(({ reason }) => reason).join(" ") || "ready"],
    [
      "Workers",
      workers.length === 0 ? "bad" : workers.some(({ restarts }) => restarts > 0) ? "warning" : "good",
      `${workers.length} run, started again ${number(workers.reduce((sum, { restarts }) => sum + restarts, 0))} times`,
    ],
    ["Tools", lampOf(tools.length, toolsDown.length), said(tools.length, toolsDown, "down")],
    ["Feeds", lampOf(feeds.length, feedsDown.length), said(feeds.length, feedsDown, "stopped")],
    ["History", history.state === "running" ? "good" : "bad", history.reason ?? `${number(history.sessions)} sessions`],
    [
      "Store",
      store ? (store.state === "connected" ? "good" : "warning") : "off",
      store ? (store.reason ?? "connected") : "not configured",
    ],
  ];
  return (
    <div class="lamps">
      {lamps.map(([name, state, reason]) => (
        <Lamp key={name} name={name} state={state} reason={reason} />
      ))}
    </div>
  );
}

export const HEALTH: Readonly<Record<Stats["health"]["status"], LampState>> = {
  ready: "good",
  degraded: "warning",
  failing: "bad",
};

function lampOf(all: number, down: number): LampState {
  if (all === 0) return "off";
  return down === 0 ? "good" : down < all ? "warning" : "bad";
}

function said(
  all: number,
  down: readonly { readonly name: string; readonly reason?: string | undefined }[],
  word: string,
): string {
  if (all === 0) return "none configured";
  if (down.length === 0) return `all ${all} work`;
  return down.map(({ name, reason }) => `${name} is ${word}${reason ? `: ${reason}` : ""}`).join("; ");
}
