import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type {
  AuthorityInfo,
  KeyInfo,
  SeriesAnswer,
  Stats,
  SuggestionInfo,
  TroubleList,
} from "../../../src/control/api.ts";
import { query } from "../api.ts";
import { number, percent } from "../format.ts";
import { Answer, Panel } from "../parts/panels.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";
import { Lamps } from "./lamps.tsx";
import { LAYERS, LastHour, total } from "./last-hour.tsx";
import { NeedsYou, noticesOf } from "./needs-you.tsx";
import { Picture } from "./picture.tsx";
import { useRates } from "./rates.ts";
import { SessionList } from "./session-list.tsx";

const HOUR = 3_600_000;

/** The first page: what an operator sees from afar, and what they look at next, from top to bottom. */
export function HomePage() {
  const stats = useResource<Stats>("/stats", 2_000);
  const troubles = useResource<TroubleList>("/trouble?limit=50", 10_000);
  const authorities = useResource<readonly AuthorityInfo[]>("/ca", 60_000);
  const keys = useResource<readonly KeyInfo[]>("/keys", 60_000);
  const suggestions = useResource<readonly SuggestionInfo[]>("/suggestions", 10_000);
  const series = useResource<SeriesAnswer>(`/series${query({ since: useHourAgo(), step: 10, names: NAMES })}`);
  const rates = useRates(stats.data, stats.at);
  const notices = stats.data ? noticesOf(stats.data, authorities.data ?? [], keys.data ?? []) : [];
  const needs = notices.length + (troubles.data?.troubles.length ?? 0);
  return (
    <div class="page">
      <div class="sentence">
        <Sentence series={series.data} needs={needs} />
        <Answer of={stats}>{(all) => <Lamps stats={all} />}</Answer>
      </div>
      <NeedsYou troubles={troubles} notices={notices} suggestions={suggestions.data ?? []} />
      <LastHour series={series} />
      <Panel title={T.home.picture} call="/stats" command="clearline stats">
        <Answer of={stats}>{(all) => <Picture stats={all} rates={rates} />}</Answer>
      </Panel>
      <SessionList />
    </div>
  );
}

const NAMES = ["opened", "ended", ...LAYERS.map(([name]) => name)].join(",");

/** ms since the epoch of an hour ago, moved on with each step of the series. */
function useHourAgo(): number {
  const at = useSignal(hourAgo());
  useEffect(() => {
    const timer = setInterval(() => {
      at.value = hourAgo();
    }, 10_000);
    return () => clearInterval(timer);
  }, [at]);
  return at.value;
}

function hourAgo(): number {
  return Math.floor((Date.now() - HOUR) / 10_000) * 10_000;
}

/** "Decrypting 84 % of 1,204 sessions a minute; 2 things need you". */
function Sentence({ series, needs }: { series: SeriesAnswer | undefined; needs: number }) {
  const minute = (name: string) => total(series?.series[name]?.slice(-7, -1));
  const ended = minute("ended");
  return (
    <h1>
      {ended === 0 ? T.home.quiet : T.home.sentence(percent(minute("decrypted"), ended), number(ended))};{" "}
      <a href="#needs-you">{T.home.needs(needs)}</a>
    </h1>
  );
}
