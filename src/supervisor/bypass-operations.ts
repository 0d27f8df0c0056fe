import type { Operations } from "../control/operations.ts";
import { isAddressBypass } from "../policy/bypass.ts";
import { explain } from "../policy/explain.ts";
import type { NodeState } from "./state.ts";

/** What the API asks about bypasses with an end. */
export function createBypassOperations(state: NodeState): Pick<Operations, "bypasses" | "addBypass" | "removeBypass"> {
  return {
    bypasses: () => state.bypasses.list(),
    async addBypass(wanted) {
      const { bypass, replaced } = await state.bypasses.add(wanted);
      return {
        bypass,
        replaced: replaced ? { id: replaced.id, expires: replaced.expires } : null,
        notes: notes(state, bypass),
      };
    },
    removeBypass: (id) => state.bypasses.remove(id),
  };
}

/** What decides before the bypass, as far as the host or address alone tells. */
function notes({ active: { policy } }: NodeState, bypass: { readonly entry: string }): string[] {
  const { entry } = bypass;
  const [address = ""] = entry.split(/[-/]/);
  const facts = isAddressBypass(bypass)
    ? { server: { address, port: 443 } }
    : { sni: entry, connectHost: null, certificate: undefined };
  const { entries } = explain(policy, facts);
  const before = entries.filter(({ truth, group }) => truth === true && BEFORE.includes(group));
  return before.map(({ group, name }) =>
    group === "drop rules"
      ? `The rule ${name} drops ${entry} all the same: drop rules come before bypasses`
      : `${entry} is on the bypass list already, which comes before bypasses`,
  );
}

const BEFORE: readonly string[] = ["drop rules", "bypass list"];
