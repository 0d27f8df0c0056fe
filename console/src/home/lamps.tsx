import type { Stats } from "../../../src/control/api.ts";
import { number } from "../format.ts";
import { Lamp, type LampState } from "../parts/marks.tsx";
import { T } from "../texts.ts";

const L = T.lamps;

/** A lamp for each part of the node, with its reason on hover and for screen readers. */
export function Lamps({ stats }: { stats: Stats }) {
  const { workers, tools, feeds, history, store, health } = stats;
  const toolsDown = tools.filter(({ state }) => state === "down");
  const feedsDown = feeds.filter(({ state }) => state === "stopped");
  const lamps: readonly (readonly [name: string, state: LampState, reason: string])[] = [
    [L.node, HEALTH[health.status], health.reasons.map(({ reason }) => reason).join(" ") || L.ready],
    [
      L.workers,
      workers.length === 0 ? "bad" : workers.some(({ restarts }) => restarts > 0) ? "warning" : "good",
      L.workersRun(workers.length, number(workers.reduce((sum, { restarts }) => sum + restarts, 0))),
    ],
    [L.tools, lampOf(tools.length, toolsDown.length), said(tools.length, toolsDown, L.isDown)],
    [L.feeds, lampOf(feeds.length, feedsDown.length), said(feeds.length, feedsDown, L.isStopped)],
    [L.history, history.state === "running" ? "good" : "bad", history.reason ?? L.sessions(number(history.sessions))],
    [
      L.store,
      store ? (store.state === "connected" ? "good" : "warning") : "off",
      store ? (store.reason ?? L.connected) : L.notConfigured,
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

/** Of so many parts, of which some are down. */
export function lampOf(all: number, down: number): LampState {
  if (all === 0) return "off";
  return down === 0 ? "good" : down < all ? "warning" : "bad";
}

function said(
  all: number,
  down: readonly { readonly name: string; readonly reason?: string | undefined }[],
  saidOfOne: (name: string) => string,
): string {
  if (all === 0) return L.noneConfigured;
  if (down.length === 0) return L.allWork(all);
  return down.map(({ name, reason }) => `${saidOfOne(name)}${reason ? `: ${reason}` : ""}`).join("; ");
}
