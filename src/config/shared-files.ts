import { resolve } from "node:path";
import { feedRow } from "./feed.ts";
import { targetRow } from "./log-section.ts";
import type { Parts } from "./parts.ts";
import { type Problem, show } from "./problem.ts";
import type { FileSeries, Located, Row } from "./row.ts";

/** Two that write files of the same names would count, move and delete each other's. `folder`: the one that file names are relative to. */
export function sharedFiles({ feeds, logTargets }: Parts, folder: string): Problem[] {
  const first = new Map<string, string>();
  const written = [
    ...logTargets.flatMap((target) => seriesOf(target, targetRow(target.value))),
    ...feeds.entries.flatMap((feed) => seriesOf(feed, feedRow(feed.value))),
  ];
  return written.flatMap(({ path, directory, stem, extension }) => {
    const ending = extension === "" ? "" : `.${extension}`;
    const series = `${resolve(folder, directory, stem)}-*${ending}`;
    const earlier = first.get(series);
    if (earlier === undefined) first.set(series, path);
    if (earlier === undefined) return [];
    const says = `leads to files named ${show(`${stem}-…${ending}`)} in the same folder as those of ${earlier}: each would delete the other's; choose another folder or name`;
    return [{ path, says }];
  });
}

function seriesOf<Value>({ path, value }: Located<Value>, { writes }: Row<Value>): (FileSeries & { path: string })[] {
  return (writes?.(value) ?? []).map((series) => ({ ...series, path: `${path}.${series.key}` }));
}
