import type { Session } from "./record.ts";
import type { SessionUpdate } from "./session.ts";

/** When a session reached each of its phases: derived from the updates of its record, so that no step of the flow has to say it. */

type Timeline = NonNullable<Session["timeline"]>;
type Mark = keyof Timeline;

/** Whether this update of this record reaches the phase. */
const REACHES: readonly (readonly [mark: Mark, reaches: (news: SessionUpdate, record: Session) => boolean])[] = [
  ["connected", ({ state }) => state?.split(":")[1] === "EST"],
  ["hello", ({ ja4 }) => typeof ja4 === "string"],
  ["serverLeg", ({ serverLeg }) => serverLeg?.version !== undefined],
  ["judged", ({ certificate }) => certificate != null],
  ["tools", ({ state }) => state === "EST:EST:EST:EST"],
  ["clientLeg", ({ clientLeg }) => clientLeg?.version !== undefined],
];

/**
 * The timeline after an update, or undefined when it is as before. `now` in ms since the epoch. Each phase counts once, except
 * for the verdict: the last one counts.
 */
export function timelineAfter(record: Session, news: SessionUpdate, now: number): Timeline | undefined {
  const { timeline = {}, start } = record;
  const marks = REACHES.filter(([mark, reaches]) => timeline[mark] === undefined && reaches(news, record)).map(
    ([mark]) => mark,
  );
  if (news.verdict != null) marks.push("decided");
  if (marks.length === 0) return undefined;
  return { ...timeline, ...Object.fromEntries(marks.map((mark) => [mark, now - start])) };
}
