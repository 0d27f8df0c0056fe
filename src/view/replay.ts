import type { SessionReader } from "./reader.ts";
import type { LogEvent } from "./session-log.ts";

/** Has the reader read one event, and waits until all of it was told: what follows must not be told before. */
export async function readEvent(reader: SessionReader, event: LogEvent): Promise<void> {
  if (event.kind === "data") reader.push(event.from, event.bytes);
  else if (event.kind !== "reset") reader.end(event.from, event.kind === "cut");
  await reader.settled();
}
