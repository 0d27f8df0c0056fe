/** When a tool counts as failed, and when it counts again. Times in ms. */
export interface HealthPlan {
  /** Failures in a row, of heartbeats and of sessions that could not be connected, until the tool has failed. */
  readonly retries: number;
  /** For how long heartbeats must succeed until it is used again. */
  readonly recovery: number;
}

export interface HealthState {
  readonly up: boolean;
  /** ms since the epoch. */
  readonly since: number;
  /** What the last failure was, one sentence; undefined: none yet. */
  readonly reason: string | undefined;
}

/** One tool's health: what its heartbeats and its sessions say of it. */
export interface Health {
  readonly state: HealthState;
  /** A heartbeat came through. true: the tool is used again. `now` in ms since the epoch. */
  succeed(now: number): boolean;
  /** A heartbeat or a session did not come through. true: the tool has failed now. */
  fail(reason: string, now: number): boolean;
}

/** A tool is believed in until it has failed. */
export function createHealth({ retries, recovery }: HealthPlan, now: number): Health {
  let state: HealthState = { up: true, since: now, reason: undefined };
  let failures = 0;
  /** Since when all heartbeats have come through. */
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
