/** What the doctor found about one thing. */
export interface Check {
  /** Short, for the table: "clock", "dns". */
  readonly name: string;
  readonly status: "ok" | "warning" | "bad";
  /** One sentence. */
  readonly says: string;
  /** What to do, in words. Absent: nothing is to be done. */
  readonly remedy?: string | undefined;
}

export type Finding = Omit<Check, "name">;

export function ok(says: string): Finding {
  return { status: "ok", says };
}

export function warning(says: string, remedy: string): Finding {
  return { status: "warning", says, remedy };
}

export function bad(says: string, remedy: string): Finding {
  return { status: "bad", says, remedy };
}

/** This user may not look: that is no fault of the node's. */
export function unseen(what: string): Finding {
  return warning(`This user may not look at ${what}`, "Run this as root, or as the user that the node runs as");
}
