import type { Side } from "../vocabulary.ts";
import { isUp } from "./leg.ts";
import type { Session } from "./record.ts";
import type { SessionUpdate } from "./session.ts";

/** When a session reached each of its phases: derived from the updates of its record, so that no step of the flow has to say it. */

type Timeline = NonNullable<Session["timeline"]>;
type Mark = keyof Timeline;

/** Whether this update of this record reaches the phase. */
const REACHES: readonly (readonly [mark: Mark, reaches: (news: SessionUpdate, record: Session) => boolean])[] = [
  ["connected", ({ state }) => state?.split(":")[1] === "EST"],
  ["hello", ({ ja4 }) => typeof ja4 === "string"],
  ["serverLeg", ({ serverLeg }) => serverLeg !== undefined && isUp(serverLeg)],
  ["judged", ({ certificate }) => certificate != null],
  ["tools", ({ state }) => state === "EST:EST:EST:EST"],
  ["clientLeg", ({ clientLeg }) => clientLeg !== undefined && isUp(clientLeg)],
];

/**
 * The timeline after an update, or undefined when it is as before. `now` in ms since the epoch. Each phase counts once, except
 * for the verdict: the last one counts.
 */
export function timelineAfter(record: Session, news: SessionUpdate, now: number): Timeline | undefined {
  const { timeline = {}, start } = record;
  // The clock may have been set back.
  const passed = Math.max(0, now - start);
  let marked: { -readonly [Name in Mark]?: number } | undefined;
  for (const [mark, reaches] of REACHES) {
    if (timeline[mark] !== undefined || !reaches(news, record)) continue;
    marked ??= { ...timeline };
    marked[mark] = passed;
  }
  return news.verdict != null ? { ...timeline, ...marked, decided: passed } : marked;
}

/**
 * How long the handshake with this peer took, in ms, from the moment when the node could begin it. Undefined: it was not finished. The
 * server's begins with the client's hello, and the client's goes on when the way through the tools is up.
 */
export function handshakeTime({ timeline, clientLeg, serverLeg }: Session, leg: Side): number | undefined {
  const end = leg === "client" ? timeline?.clientLeg : timeline?.serverLeg;
  const begin = leg === "client" ? (timeline?.tools ?? timeline?.decided) : timeline?.hello;
  if (!isUp(leg === "client" ? clientLeg : serverLeg) || end === undefined || begin === undefined) return undefined;
  return end < begin ? undefined : end - begin;
}
