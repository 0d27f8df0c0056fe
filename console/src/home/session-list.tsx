import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Session } from "../../../src/control/api.ts";
import { bytes, endpoint } from "../format.ts";
import { connection, fetchMore, follow, hasMore, isLoading, isPaused, problem, sessions } from "../live.ts";
import { Dots, Outcome } from "../parts/marks.tsx";
import { Empty } from "../parts/panels.tsx";
import { Time } from "../parts/time.tsx";
import { go, parameters, put } from "../router.ts";
import { readSearch } from "../search.ts";
import { T } from "../texts.ts";

const ROW = 30;
/** Rows that are drawn beyond the seen ones, so that a fast scroll shows no gaps. */
const MARGIN = 12;

/** The list of sessions with its search field. Only the rows that are seen are in the page. */
export function SessionList() {
  const text = parameters.value.get("q") ?? "";
  const since = parameters.value.get("since") ?? "";
  const until = parameters.value.get("until") ?? "";
  const search = readSearch(text);
  const wanted = JSON.stringify({ ...search.parameters, ...(since && { since }), ...(until && { until }) });
  useEffect(() => {
    const timer = setTimeout(() => void follow(JSON.parse(wanted)), 150);
    return () => clearTimeout(timer);
  }, [wanted]);
  return (
    <section class="panel sessions" aria-labelledby="sessions-title">
      <header>
        <h2 id="sessions-title">{T.home.sessions}</h2>
        <input
          id="search"
          type="search"
          aria-label={T.home.searchPlaceholder}
          placeholder={T.home.searchPlaceholder}
          value={text}
          spellcheck={false}
          autocomplete="off"
          onInput={({ currentTarget }) => put({ q: currentTarget.value })}
        />
        {(text || since) && (
          <button type="button" class="small" onClick={() => put({ q: "", since: "", until: "" })}>
            {T.home.clear}
          </button>
        )}
        <button
          type="button"
          class="small"
          aria-pressed={isPaused.value}
          onClick={() => {
            isPaused.value = !isPaused.value;
          }}
        >
          {isPaused.value ? T.home.goOn : T.home.pause}
        </button>
        <span class={`stream ${connection.value}`} role="status">
          {connection.value === "lost" ? T.lost : ""}
        </span>
      </header>
      {(search.problem ?? problem.value) && (
        <p class="failure" role="alert">
          {search.problem ?? problem.value}
        </p>
      )}
      <Rows />
    </section>
  );
}

function Rows() {
  const box = useRef<HTMLUListElement>(null);
  const top = useSignal(0);
  const height = useSignal(600);
  const chosen = useSignal(0);
  const all = sessions.value;
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      height.value = entry!.contentRect.height;
    });
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, [height]);
  const first = Math.max(0, Math.floor(top.value / ROW) - MARGIN);
  const last = Math.min(all.length, Math.ceil((top.value + height.value) / ROW) + MARGIN);
  const onScroll = ({ currentTarget }: { currentTarget: HTMLUListElement }) => {
    top.value = currentTarget.scrollTop;
    const isNearEnd = currentTarget.scrollTop + currentTarget.clientHeight > all.length * ROW - 40 * ROW;
    if (isNearEnd && hasMore.peek() && !isLoading.peek()) void fetchMore();
  };
  const choose = (index: number) => {
    chosen.value = Math.max(0, Math.min(all.length - 1, index));
    const at = chosen.value * ROW;
    const { scrollTop, clientHeight } = box.current!;
    if (at < scrollTop) box.current!.scrollTop = at;
    else if (at + ROW > scrollTop + clientHeight) box.current!.scrollTop = at + ROW - clientHeight;
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown" || event.key === "j") choose(chosen.value + 1);
    else if (event.key === "ArrowUp" || event.key === "k") choose(chosen.value - 1);
    else if (event.key === "Home") choose(0);
    else if (event.key === "End") choose(all.length - 1);
    else if (event.key === "Enter" && all[chosen.value]) go(`/sessions/${all[chosen.value]!.id}`);
    else return;
    event.preventDefault();
  };
  if (all.length === 0 && !isLoading.value) {
    const isSearch = parameters.value.has("q") || parameters.value.has("since");
    return (
      <div>
        <Empty>
          {isSearch ? (
            T.home.noSessions
          ) : (
            <>
              {T.home.noSessionsYet} <code>{T.home.firstSession}</code>
            </>
          )}
        </Empty>
      </div>
    );
  }
  return (
    <div class="table">
      <div class="row head" aria-hidden="true">
        {T.home.columns.map((name) => (
          <span key={name}>{name}</span>
        ))}
      </div>
      <ul
        class="scroll"
        ref={box}
        onScroll={onScroll}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: its rows are reached by keys
        tabIndex={0}
        onKeyDown={onKeyDown}
        aria-label={`${T.home.sessions}: ${all.length}`}
      >
        {/* Gives the scroll bar its length. */}
        <li class="all" aria-hidden="true" style={{ height: `${all.length * ROW}px` }} />
        {all.slice(first, last).map((session, index) => (
          <Row key={session.id} session={session} at={first + index} isChosen={first + index === chosen.value} />
        ))}
      </ul>
    </div>
  );
}

function Row({ session, at, isChosen }: { session: Session; at: number; isChosen: boolean }) {
  const { id, outcome, start, client, server, clientLeg, serverLeg, rule, state } = session;
  return (
    <li class="place" style={{ transform: `translateY(${at * ROW}px)` }}>
      <a class={`row ${isChosen ? "chosen" : ""}`} href={`/sessions/${id}`} tabIndex={-1}>
        <span>
          <Outcome outcome={outcome} isShort />
        </span>
        <Time at={start} />
        <span class="host" title={hostOf(session)}>
          {hostOf(session)}
        </span>
        <span>{client.address}</span>
        <span>{endpoint(server)}</span>
        <span>{clientLeg.version ?? serverLeg.version ?? session.protocol ?? ""}</span>
        <span class="amount">{bytes(clientLeg.received + clientLeg.sent)}</span>
        <span title={session.reason ?? ""}>{rule ?? ""}</span>
        <Dots state={state} />
      </a>
    </li>
  );
}

export function hostOf({ sni, connectHost, certificate, server }: Session): string {
  return sni ?? connectHost ?? certificate?.names[0] ?? server?.address ?? "?";
}
