import { NetworkError } from "../errors.ts";
import type { End } from "./end.ts";
import type { Task } from "./loop.ts";

/**
 * Resolves once `attempt` answers something. It is tried now, and again whenever one of the ends may be ready. Rejects with what
 * `attempt` throws; with NetworkError when an end is closed, and ETIMEDOUT after `timeout` ms. The ends must have no other task.
 */
export function until<T>(
  ends: readonly End[],
  attempt: () => T | undefined,
  { timeout, late }: { readonly timeout: number; readonly late: string },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = () => {
      clearTimeout(timer);
      for (const end of ends) if (end.task === task) end.task = undefined;
    };
    const task: Task = {
      queued: false,
      run() {
        // It may have been queued before it was settled.
        if (ends.every((end) => end.task !== task)) return false;
        const answer = attempt();
        if (answer === undefined) return false;
        settle();
        resolve(answer);
        return false;
      },
      fail(error) {
        settle();
        reject(error);
      },
    };
    const timer = setTimeout(() => task.fail(new NetworkError(late, "ETIMEDOUT")), timeout);
    for (const end of ends) end.task = task;
    ends[0]?.loop.enqueue(task);
  });
}
