import { useSignal } from "@preact/signals";
import type { ListInfos } from "../../../src/control/api.ts";
import { query } from "../api.ts";
import { number } from "../format.ts";
import { Answer, Empty, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

/** The configured lists, and which of their entries a host or an address matches. */
export function ListsPanel() {
  const find = useSignal("");
  const lists = useResource<ListInfos>(`/lists${query({ find: find.value })}`);
  return (
    <Panel title={T.policy.lists} call="/lists?find=example.com" command="clearline explain --host example.com">
      <form class="inline" onSubmit={(event) => event.preventDefault()}>
        <label>
          {T.policy.find}
          <input
            type="search"
            placeholder="www.example.com, 192.0.2.7"
            spellcheck={false}
            onChange={({ currentTarget }) => {
              find.value = currentTarget.value.trim();
            }}
          />
        </label>
      </form>
      <Answer of={lists}>
        {({ lists: all }) =>
          all.length === 0 ? (
            <Empty>{T.policy.noLists}</Empty>
          ) : (
            <Table
              label={T.policy.lists}
              rows={all}
              keyOf={({ path }) => path}
              columns={[
                { name: T.policy.columns.list, of: ({ name }) => <b>{name}</b> },
                { name: T.policy.columns.action, of: ({ kind }) => <span class={`verdict ${kind}`}>{kind}</span> },
                { name: T.policy.columns.entries, of: ({ entries }) => number(entries), isAmount: true },
                {
                  name: T.policy.columns.read,
                  of: ({ read, stale }) => [<Time key="read" at={read} as="distance" />, stale && ` ${T.policy.stale}`],
                },
                { name: T.policy.columns.matchingEntries, of: ({ matches }) => matches.join(", ") },
              ]}
            />
          )
        }
      </Answer>
    </Panel>
  );
}
