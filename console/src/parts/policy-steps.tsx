import type { Explanation } from "../../../src/control/api.ts";
import { T } from "../texts.ts";
import { Table } from "./table.tsx";

/** The steps of an evaluation, in order. */
export function PolicySteps({ entries }: { entries: Explanation["entries"] }) {
  return (
    <Table
      label={T.policy.dryRun}
      rows={entries}
      keyOf={(_, index) => String(index)}
      columns={[
        { name: T.policy.columns.phase, of: ({ phase }) => phase },
        { name: T.policy.columns.group, of: ({ group }) => group },
        { name: T.policy.columns.entry, of: ({ name, truth }) => (truth === true ? <b>{name}</b> : name) },
        { name: T.policy.columns.action, of: ({ action }) => <span class={`verdict ${action}`}>{action}</span> },
        {
          name: T.policy.columns.applies,
          of: ({ truth }) => (truth === true ? <b>{T.yes}</b> : truth === false ? T.no : T.policy.depends),
        },
      ]}
    />
  );
}
