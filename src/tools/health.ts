/** When a tool has failed, and when it has recovered. Times in ms. */
export interface HealthPlan {
  /** After this many consecutive failures, of heartbeats or of sessions, the tool has failed. */
  readonly retries: number;
  /** For how long heartbeats must succeed until the tool is used again. */
  readonly recovery: number;
}

export interface HealthState {
  readonly up: boolean;
  /** ms since the epoch. */
  readonly since: number;
  /** The last failure in one sentence. Undefined: there was none. */
  readonly reason: string | undefined;
}

/** One tool's health, by its heartbeats and its sessions. */
export interface Health {
  readonly state: HealthState;
  /** A heartbeat came through. Returns whether the tool has recovered with it. `now` in ms since the epoch. */
  succeed(now: number): boolean;
  /** A heartbeat or a session failed. Returns whether the tool has failed with it. */
  fail(reason: string, now: number): boolean;
}

/** A tool is up until it has failed. */
export function createHealth({ retries, recovery }: HealthPlan, now: number): Health {
  let state: HealthState = { up: true, since: now, reason: undefined };
  let failures = 0;
  /** The time of the first heartbeat after the last failure. */
  let sound: number | undefined;
  return {
    get state() {
      return state;
    },
    succeed(at) {
      failures = 0;
      sound ??= at;
      if (state.up || at - sound < recovery) return false;
      state = { ...state, up: true, since: at };
      return true;
    },
    fail(reason, at) {
      failures += 1;
      sound = undefined;
      const failed = state.up && failures >= retries;
      state = failed ? { up: false, since: at, reason } : { ...state, reason };
      return failed;
    },
  };
}
