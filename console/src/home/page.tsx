import type { Stats } from "../../../src/control/api.ts";
import { Answer, Panel } from "../parts/panels.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";
import { Lamps } from "./lamps.tsx";
import { Picture } from "./picture.tsx";
import { useRates } from "./rates.ts";
import { SessionList } from "./session-list.tsx";

export function HomePage() {
  const stats = useResource<Stats>("/stats", 2000);
  const rates = useRates(stats.data, stats.at);
  return (
    <div class="page">
      <Answer of={stats}>{(all) => <Lamps stats={all} />}</Answer>
      <Panel title={T.home.picture} call="/stats" command="clearline stats">
        <Answer of={stats}>{(all) => <Picture stats={all} rates={rates} />}</Answer>
      </Panel>
      <SessionList />
    </div>
  );
}
