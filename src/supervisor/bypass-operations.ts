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

/** What else decides about the entry, as far as the host or address alone tells. */
function notes({ active: { policy } }: NodeState, bypass: { readonly entry: string }): string[] {
  const { entry } = bypass;
  const [address = ""] = entry.split(/[-/]/);
  const facts = isAddressBypass(bypass)
    ? { server: { address, port: 443 } }
    : { sni: entry, connectHost: null, certificate: undefined };
  const { entries } = explain(policy, facts);
  return entries.flatMap(({ truth, group, name }) => (truth === true && NOTES[group]?.(entry, name)) || []);
}

const NOTES: Readonly<Record<string, (entry: string, name: string) => string>> = {
  "drop rules": (entry, name) => `The rule ${name} drops ${entry} all the same: drop rules come before bypasses`,
  "bypass list": (entry) => `${entry} is on the bypass list already, which comes before bypasses`,
  "decrypt list": (entry) =>
    `${entry} is on the decrypt list, and is bypassed all the same: bypasses come before that list`,
};
