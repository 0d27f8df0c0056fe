import { constants, openSync } from "node:fs";
import { access, chmod, chown, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import type { Account } from "../linux/privileges.ts";
import { makeSecretFolder } from "../pki/keys/secret-file.ts";
import { type ListSource, tableName } from "../policy/list-table.ts";
import type { PolicySource } from "../policy/rule.ts";
import { MODE_WITH_WORKERS } from "./data-folder.ts";

/** The tables of the policy's lists, as files that the workers map. */
export interface ListFiles {
  /** Their folder's descriptor, which each worker inherits. */
  readonly descriptor: number;
  /** Writes those of this policy that are not there. Throws ConfigError. */
  keep(policy: PolicySource): Promise<void>;
  /** Removes all others. A worker that still uses one has it mapped. */
  keepOnly(policy: PolicySource): Promise<void>;
  /** Its files, by the names that a worker opens them with. */
  filesOf(policy: PolicySource): { readonly bypass: readonly string[]; readonly decrypt: readonly string[] };
}

/**
 * Opens the folder of the files, and empties it: an earlier run's files may be half written. `user`: who the workers are. They may read
 * the files, and only this process may write them: a file that got shorter would end every process that has it mapped.
 */
export async function openListFiles(dataDir: string, user: Account | undefined): Promise<ListFiles> {
  const folder = join(dataDir, "lists");
  const written = new Set<string>();
  const fileOf = (table: Uint8Array) => join(folder, tableName(table));
  const packed = (list: ListSource) => list.filter((one) => typeof one !== "string");
  const share = async (path: string, mode: number) => {
    if (user) await chown(path, -1, user.gid);
    await chmod(path, user ? mode : mode & 0o700);
  };
  const write = async (file: string, table: Uint8Array) => {
    const draft = `${file}.draft`;
    await rm(draft, { force: true });
    await writeFile(draft, table, { mode: 0o600, flag: "wx" });
    await share(draft, 0o640);
    await rename(draft, file);
    written.add(file);
  };
  await makeSecretFolder(folder, MODE_WITH_WORKERS);
  await share(folder, MODE_WITH_WORKERS);
  for (const name of await readdir(folder)) await rm(join(folder, name), { force: true });
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  return {
    descriptor: openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    filesOf: ({ lists: { bypass, decrypt } }) => ({
      bypass: packed(bypass).map((table) => `${SEEN_BY_WORKERS}/${tableName(table)}`),
      decrypt: packed(decrypt).map((table) => `${SEEN_BY_WORKERS}/${tableName(table)}`),
    }),
    async keep({ lists }) {
      for (const [list, tables] of Object.entries(lists))
        for (const table of tables) {
          if (typeof table === "string") continue;
          const file = fileOf(table);
          // Somebody may have removed it, and a worker that starts would not find it.
          if (written.has(file) && (await isThere(file))) continue;
          await write(file, table).catch((error: NodeJS.ErrnoException) => {
            throw cannotWrite(list, folder, error);
          });
        }
    },
    async keepOnly({ lists }) {
      const used = new Set(packed([...lists.bypass, ...lists.decrypt]).map(fileOf));
      for (const file of written) {
        if (used.has(file)) continue;
        await rm(file, { force: true });
        written.delete(file);
      }
    },
  };
}

/** On a disk that hangs, the supervisor must not wait for the answer. */
function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** The first descriptor that a worker inherits. The way to the data folder may be closed to the workers' user. */
const SEEN_BY_WORKERS = "/proc/self/fd/5";

function cannotWrite(list: string, folder: string, error: NodeJS.ErrnoException): ConfigError {
  const path = `policy.lists.${list}`;
  return new ConfigError(path, `Cannot write the compiled ${path} to ${folder}: ${error.code ?? error.message}`, {
    cause: error,
  });
}
