import { ConfigError } from "../errors.ts";
import { letGo, mapFile } from "../linux/mapped-file.ts";
import type { WorkerSetup } from "../messages.ts";
import type { PolicySource } from "../policy/rule.ts";

/** The mapped tables of the lists in force, by the names of their files, which follow their content. */
export type ListTables = Map<string, Uint8Array>;

/** The policy of a setup with its lists, which the supervisor has compiled: they are mapped, and not read. Throws ConfigError. */
export function withLists({ policy, lists }: Pick<WorkerSetup, "policy" | "lists">, tables: ListTables): PolicySource {
  const map = (list: keyof typeof lists) =>
    lists[list].map((file) => {
      try {
        const table = tables.get(file) ?? mapFile(file);
        tables.set(file, table);
        return table;
      } catch (error) {
        const message = `Cannot read ${file}, the compiled policy.lists.${list}: ${(error as Error).message}`;
        throw new ConfigError(`policy.lists.${list}`, message, { cause: error });
      }
    });
  const mapped = { ...policy, lists: { bypass: map("bypass"), decrypt: map("decrypt") } };
  for (const [file, table] of tables) {
    if (lists.bypass.includes(file) || lists.decrypt.includes(file)) continue;
    tables.delete(file);
    // Sessions that began under it have the policy as long as they live, and have asked it already.
    letGo(table);
  }
  return mapped;
}
