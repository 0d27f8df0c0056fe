import type { Stats } from "../../../src/control/api.ts";
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
      <Panel title={T.tools.kernel} call="/stats" command="clearline stats">
        <Answer of={stats}>
          {({ kernel }) => (kernel.length === 0 ? <Empty>{T.tools.noKernel}</Empty> : <Kernel of={kernel} />)}
        </Answer>
      </Panel>
    </div>
  );
}

function Tools({ of }: { of: Stats["tools"] }) {
  return (
    <Table
      label={T.tools.tools}
      rows={of}
      keyOf={({ name }) => name}
      columns={[
        {
          name: "Health",
          of: ({ state, reason }) => (
            <Lamp name={state} state={state === "up" ? "good" : "bad"} reason={reason ?? "it answers"} />
          ),
        },
        { name: "Tool", of: ({ name, kind }) => `${name} (${kind})` },
        { name: "Since", of: ({ since }) => <Time at={since} as="distance" /> },
        { name: "Sessions now", of: ({ sessions }) => number(sessions), isAmount: true },
        { name: "Strangers", of: ({ strangers }) => number(strangers), isAmount: true },
        { name: "When it fails", of: ({ onFailure }) => onFailure },
        { name: "Last failure", of: ({ reason }) => reason ?? "" },
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
          name: "Health",
          of: ({ state, reason }) => (
            <Lamp name={state} state={state === "running" ? "good" : "bad"} reason={reason ?? "it takes what comes"} />
          ),
        },
        { name: "Feed", of: ({ name, kind }) => `${name} (${kind})` },
        { name: "Sessions", of: ({ sessions }) => number(sessions), isAmount: true },
        { name: "Packets", of: ({ packets }) => number(packets), isAmount: true },
        { name: "Written", of: (feed) => bytes(feed.bytes), isAmount: true },
        { name: "Left out", of: ({ dropped }) => number(dropped), isAmount: true },
        { name: "Why stopped", of: ({ reason }) => reason ?? "" },
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
        { name: "Listener", of: ({ listener }) => listener },
        { name: "Counts", of: ({ counts }) => counts },
        { name: "Rule or list", of: ({ name }) => name ?? "" },
        { name: "Packets", of: ({ packets }) => number(packets), isAmount: true },
        { name: "Bytes", of: (count) => bytes(count.bytes), isAmount: true },
      ]}
    />
  );
}
