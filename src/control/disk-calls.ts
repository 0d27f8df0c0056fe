import type { AuditCalls } from "./audit-store.ts";
import type { HistoryCalls } from "./history-database.ts";

/** What passes between a process and the thread that waits for its disk. */

/** What can be asked of each kind of store. */
export interface StoreCalls {
  readonly history: HistoryCalls;
  readonly audit: AuditCalls;
}

export interface Question {
  readonly id: number;
  /** Its number. */
  readonly store: number;
  /** "open", with the store's kind and file, or one of its calls. */
  readonly name: string;
  readonly args: readonly unknown[];
}

export interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}
