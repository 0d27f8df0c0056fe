import { realpath } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { feedRow } from "./feed.ts";
import { targetRow } from "./log-section.ts";
import type { Parts } from "./parts.ts";
import { type Problem, show } from "./problem.ts";
import type { FileSeries, Located, Row } from "./row.ts";

/** ms that a file system may take to say where a folder really is. */
const PATIENCE = 2_000;

/** Where the folders of written files really are, by their names in the configuration. `folder`: the one that names are relative to. */
export type RealFolders = ReadonlyMap<string, string>;

/** Follows the symbolic links of the folders that there are. */
export async function realFoldersOf(parts: Parts, folder: string): Promise<RealFolders> {
  const names = [...new Set(writtenBy(parts).map(({ directory }) => directory))];
  const found = await Promise.all(
    names.map(async (name) => {
      const shown = resolve(folder, name);
      // A server of files that is gone may never answer.
      const late = setTimeout(PATIENCE, shown, { ref: false });
      return [name, await Promise.race([realPlace(shown), late])] as const;
    }),
  );
  return new Map(found);
}

/** Of a folder that is not there yet: its place in the nearest one that is. */
async function realPlace(folder: string): Promise<string> {
  for (let there = folder; ; there = dirname(there)) {
    try {
      return join(await realpath(there), relative(there, folder));
    } catch {
      if (there === dirname(there)) return folder;
    }
  }
}

/** Two that write files of the same names would count, move and delete each other's. */
export function sharedFiles(parts: Parts, folders: RealFolders): Problem[] {
  const first = new Map<string, string>();
  return writtenBy(parts).flatMap(({ path, directory, stem, extension }) => {
    const ending = extension === "" ? "" : `.${extension}`;
    const series = `${join(folders.get(directory) ?? directory, stem)}-*${ending}`;
    const earlier = first.get(series);
    if (earlier === undefined) first.set(series, path);
    if (earlier === undefined) return [];
    const says = `leads to files named ${show(`${stem}-…${ending}`)} in the same folder as those of ${earlier}: each would delete the other's; choose another folder or name`;
    return [{ path, says }];
  });
}

function writtenBy({ feeds, logTargets }: Parts): (FileSeries & { path: string })[] {
  return [
    ...logTargets.flatMap((target) => seriesOf(target, targetRow(target.value))),
    ...feeds.entries.flatMap((feed) => seriesOf(feed, feedRow(feed.value))),
  ];
}

function seriesOf<Value>({ path, value }: Located<Value>, { writes }: Row<Value>): (FileSeries & { path: string })[] {
  return (writes?.(value) ?? []).map((series) => ({ ...series, path: `${path}.${series.key}` }));
}
