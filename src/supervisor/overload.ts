import type { OverloadInfo } from "../control/api.ts";
import type { OverloadReport } from "../messages.ts";
import { LOADS, OVERLOAD_LEVELS } from "../vocabulary.ts";
import { KEYS } from "./counts.ts";
import type { NodeState } from "./state.ts";
import type { ListedWorker } from "./workers.ts";

/** The workers see by themselves that they are overloaded. Here is what they are told, and what is told of them. */

/** What the workers say, with of each measure the one that is nearest to its threshold, or farthest beyond. */
export function overloadInfo({ workers, counts, active }: Pick<NodeState, "workers" | "counts" | "active">) {
  const reports = reportsOf(workers.list());
  const measures = LOADS.flatMap((measure) => {
    const all = reports.flatMap(({ id, report }) =>
      report.measures.filter(({ load }) => load === measure).map(({ load: _, ...rest }) => ({ ...rest, worker: id })),
    );
    const [worst] = all.sort((one, other) => other.value / other.threshold - one.value / one.threshold);
    const level = OVERLOAD_LEVELS.findLast((level) => all.some((one) => one.level === level)) ?? "none";
    return worst ? [{ measure, ...worst, level }] : [];
  });
  return {
    level: OVERLOAD_LEVELS.findLast((level) => reports.some(({ report }) => report.level === level)) ?? "none",
    action: active.loaded.config.overload.action,
    workers: reports.filter(({ report }) => report.level !== "none").map(({ id }) => id),
    measures,
    bypassed: counts.total(KEYS.overloaded("bypassed")),
    dropped: counts.total(KEYS.overloaded("dropped")),
  } satisfies OverloadInfo;
}

function reportsOf(
  workers: readonly ListedWorker[],
): readonly { readonly id: number; readonly report: OverloadReport }[] {
  return workers.flatMap(({ id, status }) => (status ? [{ id, report: status.overload }] : []));
}

/** The resident memory of all processes, as a part of what the node may have. */
export function memoryPart({ workers, resources }: Pick<NodeState, "workers" | "resources">): number {
  const ofWorkers = workers.list().reduce((sum, { status }) => sum + (status?.memory ?? 0), 0);
  return (process.memoryUsage.rss() + ofWorkers) / resources.memory;
}

/** Tells when the node becomes overloaded, and when it no longer is: once each. */
export interface OverloadWatch {
  look(info: OverloadInfo): void;
}

interface Tell {
  begun(about: Readonly<Record<string, unknown>>, message: string): void;
  ended(about: Readonly<Record<string, unknown>>, message: string): void;
}

export function createOverloadWatch(tell: Tell, now: () => number = () => performance.now()): OverloadWatch {
  let begun: { at: number; bypassed: number; dropped: number } | undefined;
  let last = { bypassed: 0, dropped: 0 };
  return {
    look({ level, action, workers, measures, bypassed, dropped }) {
      if (level !== "none" && !begun) {
        begun = { at: now(), ...last };
        const met = measures.filter((one) => one.level !== "none");
        const what = action === "bypass" ? "bypassed" : "dropped";
        tell.begun(
          { workers, measures: met.map(({ measure, value, threshold }) => ({ measure, value, threshold })) },
          `The node is overloaded: new sessions that would be decrypted are ${what}`,
        );
      }
      if (level === "none" && begun) {
        const counted = { bypassed: bypassed - begun.bypassed, dropped: dropped - begun.dropped };
        tell.ended(
          { seconds: Math.round((now() - begun.at) / 100) / 10, ...counted },
          "The node is no longer overloaded: new sessions are decrypted",
        );
        begun = undefined;
      }
      last = { bypassed, dropped };
    },
  };
}
