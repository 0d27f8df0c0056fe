import type { HealthChange, Stats } from "../../../src/control/api.ts";
import { bytes, number } from "../format.ts";
import { Lamp } from "../parts/marks.tsx";
import { Answer, Empty, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

export function ToolsPage() {
  const stats = useResource<Stats>("/stats", 3000);
  return (
    <div class="page">
      <Panel title={T.tools.tools} call="/stats" command="clearline stats">
        <Answer of={stats}>
          {({ tools }) => (tools.length === 0 ? <Empty>{T.tools.noTools}</Empty> : <Tools of={tools} />)}
        </Answer>
      </Panel>
      <Panel title={T.tools.feeds} call="/stats" command="clearline stats">
        <Answer of={stats}>
          {({ feeds }) => (feeds.length === 0 ? <Empty>{T.tools.noFeeds}</Empty> : <Feeds of={feeds} />)}
        </Answer>
      </Panel>
      <Panel title={T.tools.changes} hint={T.tools.changesHint} call="/stats" command="clearline stats --json">
        <Answer of={stats}>{(all) => <Changes of={all} />}</Answer>
      </Panel>
      <Panel title={T.tools.kernel} call="/stats" command="clearline stats">
        <Answer of={stats}>
          {({ kernel }) => (kernel.length === 0 ? <Empty>{T.tools.noKernel}</Empty> : <Kernel of={kernel} />)}
        </Answer>
      </Panel>
    </div>
  );
}

/** When tools and feeds failed and worked again, the newest first. */
function Changes({ of: { tools, feeds } }: { of: Stats }) {
  const rows = [...named(T.tools.tool, tools), ...named(T.tools.feed, feeds)].sort((a, b) => b.at - a.at);
  if (rows.length === 0) return <Empty>{T.tools.noChanges}</Empty>;
  return (
    <Table
      label={T.tools.changes}
      rows={rows}
      keyOf={({ part, at, works }) => `${part} ${at} ${works}`}
      columns={[
        { name: T.tools.columns.when, of: ({ at }) => <Time at={at} as="full" /> },
        { name: T.tools.columns.part, of: ({ part }) => part },
        {
          name: T.tools.columns.change,
          of: ({ works }) => (
            <Lamp name={works ? T.tools.workedAgain : T.tools.failed} state={works ? "good" : "bad"} reason="" />
          ),
        },
        { name: T.tools.columns.why, of: ({ reason }) => reason ?? "" },
      ]}
    />
  );
}

function named(
  kind: (name: string) => string,
  parts: readonly { readonly name: string; readonly changes: readonly HealthChange[] }[],
): (HealthChange & { readonly part: string })[] {
  return parts.flatMap(({ name, changes }) => changes.map((change) => ({ ...change, part: kind(name) })));
}

function Tools({ of }: { of: Stats["tools"] }) {
  return (
    <Table
      label={T.tools.tools}
      rows={of}
      keyOf={({ name }) => name}
      columns={[
        {
          name: T.tools.columns.health,
          of: ({ state, reason }) => (
            <Lamp name={state} state={state === "up" ? "good" : "bad"} reason={reason ?? T.tools.answers} />
          ),
        },
        { name: T.tools.columns.tool, of: ({ name, kind }) => `${name} (${kind})` },
        { name: T.tools.columns.since, of: ({ since }) => <Time at={since} as="distance" /> },
        { name: T.tools.columns.sessionsNow, of: ({ sessions }) => number(sessions), isAmount: true },
        { name: T.tools.columns.strangers, of: ({ strangers }) => number(strangers), isAmount: true },
        { name: T.tools.columns.whenItFails, of: ({ onFailure }) => onFailure },
        { name: T.tools.columns.lastFailure, of: ({ reason }) => reason ?? "" },
      ]}
    />
  );
}

function Feeds({ of }: { of: Stats["feeds"] }) {
  return (
    <Table
      label={T.tools.feeds}
      rows={of}
      keyOf={({ name }) => name}
      columns={[
        {
          name: T.tools.columns.health,
          of: ({ state, reason }) => (
            <Lamp name={state} state={state === "running" ? "good" : "bad"} reason={reason ?? T.tools.takes} />
          ),
        },
        { name: T.tools.columns.feed, of: ({ name, kind }) => `${name} (${kind})` },
        { name: T.tools.columns.sessions, of: ({ sessions }) => number(sessions), isAmount: true },
        { name: T.tools.columns.packets, of: ({ packets }) => number(packets), isAmount: true },
        { name: T.tools.columns.written, of: (feed) => bytes(feed.bytes), isAmount: true },
        { name: T.tools.columns.leftOut, of: ({ dropped }) => number(dropped), isAmount: true },
        { name: T.tools.columns.whyStopped, of: ({ reason }) => reason ?? "" },
      ]}
    />
  );
}

function Kernel({ of }: { of: Stats["kernel"] }) {
  return (
    <Table
      label={T.tools.kernel}
      rows={of}
      keyOf={(_, index) => String(index)}
      columns={[
        { name: T.tools.columns.listener, of: ({ listener }) => listener },
        { name: T.tools.columns.counts, of: ({ counts }) => counts },
        { name: T.tools.columns.ruleOrList, of: ({ name }) => name ?? "" },
        { name: T.tools.columns.packets, of: ({ packets }) => number(packets), isAmount: true },
        { name: T.tools.columns.bytes, of: (count) => bytes(count.bytes), isAmount: true },
      ]}
    />
  );
}
