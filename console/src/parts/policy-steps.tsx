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
        { name: "Phase", of: ({ phase }) => phase },
        { name: "Group", of: ({ group }) => group },
        { name: "Entry", of: ({ name, truth }) => (truth === true ? <b>{name}</b> : name) },
        { name: "Action", of: ({ action }) => <span class={`verdict ${action}`}>{action}</span> },
        {
          name: "Applies",
          of: ({ truth }) => (truth === true ? <b>{T.yes}</b> : truth === false ? T.no : T.policy.depends),
        },
      ]}
    />
  );
}
