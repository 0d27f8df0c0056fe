import type { LegRecord } from "./record.ts";

/** Whether the handshake of this leg was complete. */
export function isUp({ version, unfinished }: Pick<LegRecord, "version" | "unfinished">): boolean {
  return version !== undefined && !unfinished;
}
