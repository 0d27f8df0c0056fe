import { type Signal, useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ask, failureOf, type RequestFailure } from "./api.ts";

/** What a request answered last, and why the last one failed. The last answer stays while a newer one is on its way. */
export interface Resource<T> {
  readonly data: T | undefined;
  readonly failure: RequestFailure | undefined;
  /** performance.now() of the last answer. */
  readonly at: number | undefined;
  again(): void;
}

/** Asks now, again when `where` changes, and every `every` ms while the page is seen. `where` undefined: asks for nothing. */
export function useResource<T>(where: string | undefined, every?: number): Resource<T> {
  const data: Signal<T | undefined> = useSignal<T | undefined>(undefined);
  const failure = useSignal<RequestFailure | undefined>(undefined);
  const at = useSignal<number | undefined>(undefined);
  const turn = useSignal(0);
  useEffect(() => {
    if (where === undefined) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const work = async () => {
      if (document.visibilityState === "visible") {
        try {
          const answer = await ask<T>(where, { signal: stop.signal });
          data.value = answer;
          failure.value = undefined;
          at.value = performance.now();
        } catch (error) {
          if (stop.signal.aborted) return;
          failure.value = failureOf(error);
        }
      }
      if (every !== undefined && !stop.signal.aborted) timer = setTimeout(work, every);
    };
    void work();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [where, every, turn.value]);
  return {
    data: data.value,
    failure: failure.value,
    at: at.value,
    again() {
      turn.value += 1;
    },
  };
}
