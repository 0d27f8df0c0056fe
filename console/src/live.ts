import { effect, signal } from "@preact/signals";
import type { Session, SessionEvents } from "../../src/control/api.ts";
import { apiPath, ask, login, messageOf, query } from "./api.ts";

/**
 * The list of sessions, kept up to date by server-sent events. The node batches changes; the list is made again at most once in
 * a frame. After a lost connection the node sends what has changed since the last event that came.
 */

/** Rows beyond this leave the list, the oldest first: they are found by search. */
const MOST = 12_000;
const PAGE = 200;

export const sessions = signal<readonly Session[]>([]);
/** "connecting" at first; "lost": the node is asked again and again. */
export const connection = signal<"connecting" | "connected" | "lost">("connecting");
export const isPaused = signal(false);
/** More sessions match than were fetched. */
export const hasMore = signal(false);
export const isLoading = signal(false);
/** Why the search cannot be done, by the node's words. */
export const problem = signal<string | undefined>(undefined);

const known = new Map<string, Session>();
let cursor: string | undefined;
let wanted: Readonly<Record<string, string>> = {};
let stream: EventSource | undefined;
let generation = 0;
let frame = 0;

/** Shows the sessions that match these parameters of GET /sessions, from now on. */
export async function follow(parameters: Readonly<Record<string, string>>): Promise<void> {
  wanted = parameters;
  generation += 1;
  stream?.close();
  known.clear();
  cursor = undefined;
  hasMore.value = false;
  publish();
  await fetchMore();
  if (wanted === parameters) listen(parameters);
}

/** The next page of older sessions. */
export async function fetchMore(): Promise<void> {
  const asked = generation;
  isLoading.value = true;
  try {
    const found = await ask<{ sessions: Session[]; more: boolean; next?: string | null }>(
      `/sessions${query({ ...wanted, limit: PAGE, cursor })}`,
    );
    if (asked !== generation) return;
    problem.value = undefined;
    for (const session of found.sessions) if (!known.has(session.id)) known.set(session.id, session);
    cursor = found.next ?? undefined;
    hasMore.value = found.more && cursor !== undefined;
  } catch (error) {
    if (asked === generation) problem.value = messageOf(error);
  } finally {
    if (asked === generation) {
      isLoading.value = false;
      publish();
    }
  }
}

function listen(parameters: Readonly<Record<string, string>>): void {
  // Time limits are about sessions that have ended: new ones come without.
  const { since: _, until, ...filter } = parameters;
  if (until) return;
  connection.value = "connecting";
  stream = new EventSource(`${apiPath("/events")}${query(filter)}`);
  stream.addEventListener("open", () => {
    connection.value = "connected";
  });
  stream.addEventListener("error", () => {
    connection.value = "lost";
    // A browser gives up when the answer is not a stream.
    if (stream?.readyState === EventSource.CLOSED && login.peek()) setTimeout(() => void follow(wanted), 3000);
  });
  stream.addEventListener("sessions", ({ data }) => take(JSON.parse(data as string) as SessionEvents));
}

function take({ live, closed, dropped }: SessionEvents): void {
  for (const session of [...live, ...closed]) known.set(session.id, session);
  if (dropped > 0) void fetchMore();
  if (known.size > MOST) forget();
  if (frame === 0) frame = requestAnimationFrame(publish);
}

function forget(): void {
  const byAge = [...known.values()].sort(newestFirst);
  for (const { id } of byAge.slice(MOST - 2000)) known.delete(id);
}

/** A list that is paused keeps what it shows. What comes meanwhile is not lost. */
function publish(): void {
  frame = 0;
  if (isPaused.peek() && sessions.peek().length > 0) return;
  const shown = sessions.peek();
  // Most changes are of sessions that have their places already.
  const isSame = shown.length === known.size && shown.every(({ id }) => known.has(id));
  sessions.value = isSame ? shown.map(({ id }) => known.get(id)!) : [...known.values()].sort(newestFirst);
}

function newestFirst(a: Session, b: Session): number {
  return b.start - a.start || (a.id < b.id ? 1 : -1);
}

effect(() => {
  if (!isPaused.value) publish();
});

effect(() => {
  if (login.value === null) {
    stream?.close();
    known.clear();
    sessions.value = [];
  }
});
