import { type Command, InvalidArgumentError } from "commander";
import type { ListInfo, ListInfos, PolicyEntry, PolicyOrder, Preview, PreviewRequest } from "../../control/api.ts";
import { openClient, queryOf } from "../client.ts";
import { readNamed } from "../named-file.ts";
import { type CommonOptions, createCommand, createGroup } from "../program.ts";
import { amount, color, fullTime, plain, print, printJson, table, verdictColor } from "../render.ts";

export function policyCommand(): Command {
  return createGroup("policy", "Show the policy, and try a change of it on past sessions.", [
    showCommand(),
    listsCommand(),
    previewCommand(),
  ]);
}

function showCommand(): Command {
  return createCommand(
    "show",
    "Show the order in which the policy is evaluated, with the sessions that each entry decided.",
    ["policy show", "policy show --json | jq '.order[] | select(.hits.day == 0)'"],
  )
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const policy = await (await openClient(options.config)).ask<PolicyOrder>("GET", "/policy");
      if (options.json) return printJson(policy, 2);
      print(
        table<PolicyEntry>(
          [
            { title: "PHASE", rank: 0, value: ({ phase }) => phase },
            { title: "GROUP", rank: 1, value: ({ group }) => group },
            { title: "NAME", rank: 0, min: 12, value: nameOf },
            {
              title: "ACTION",
              rank: 0,
              value: ({ action }) => action,
              paint: ({ action }) => verdictColor(action),
            },
            { title: "LAST HOUR", rank: 0, right: true, value: ({ hits }) => hits.hour },
            { title: "24 HOURS", rank: 0, right: true, value: ({ hits }) => hits.day },
          ],
          policy.order,
        ),
        color.dim(`Sessions are counted since ${fullTime(policy.hitsSince)}.`),
      );
    });
}

/** "certificate fault: expired": at 80 columns the group is left out, which tells the faults apart. */
function nameOf({ group, name }: PolicyEntry): string {
  const [, fault] = /^certificate faults: (.*)$/.exec(group) ?? [];
  return fault === undefined ? name : `${name}: ${fault}`;
}

function listsCommand(): Command {
  return createCommand("lists", "Show the policy's lists, and which entries match a host or an address.", [
    "policy lists",
    "policy lists www.example.com",
    "policy lists 192.0.2.7 --json",
  ])
    .argument("[find]", "a host or an address")
    .option("--json", "print JSON")
    .action(async (find: string | undefined, options: CommonOptions & { json?: true }) => {
      const found = await (await openClient(options.config)).ask<ListInfos>("GET", `/lists${queryOf({ find })}`);
      if (options.json) return printJson(found, 2);
      if (found.lists.length === 0) return print("The policy has no lists.");
      print(
        table<ListInfo>(
          [
            { title: "KIND", rank: 0, value: ({ kind }) => kind },
            { title: "FILE", rank: 0, min: 16, value: ({ file }) => file },
            { title: "ENTRIES", rank: 0, right: true, value: ({ entries }) => entries },
            {
              title: "READ",
              rank: 1,
              value: ({ read, stale }) => `${fullTime(read)}${stale ? ", changed since" : ""}`,
            },
            ...(find === undefined
              ? []
              : [{ title: "MATCHES", rank: 0, min: 12, value: ({ matches }: ListInfo) => matches.join(", ") }]),
          ],
          found.lists,
        ),
      );
    });
}

interface PreviewOptions extends CommonOptions {
  readonly hours: number;
  readonly bypass?: readonly string[];
  readonly list?: readonly string[];
  readonly decryptList?: readonly string[];
  readonly json?: true;
}

function previewCommand(): Command {
  return createCommand(
    "preview",
    "Show what a changed configuration file, list or bypass would have decided about the sessions on record.",
    [
      "policy preview changed.yaml --hours 24",
      "policy preview --bypass app.example.com",
      "policy preview --list more-bypassed.txt --hours 168",
    ],
  )
    .argument("[file]", "a configuration file: its policy, with its lists, in place of the running one")
    .option("--hours <n>", "how many hours back", readHours, 24)
    .option("--bypass <entry...>", "with a bypass of these hosts or addresses")
    .option("--list <file...>", "with the entries of these files on the bypass list, too")
    .option("--decrypt-list <file...>", "with the entries of these files on the decrypt list, too")
    .option("--json", "print JSON")
    .action(async (file: string | undefined, options: PreviewOptions) => {
      const request = await requestOf(file, options);
      const preview = await (await openClient(options.config)).ask<Preview>("POST", "/policy/preview", request);
      if (options.json) return printJson(preview, 2);
      print(...page(preview, options.hours));
    });
}

function readHours(text: string): number {
  const hours = Number(text);
  if (hours > 0 && hours <= 24 * 366) return hours;
  throw new InvalidArgumentError(`It must be a number of hours, ${24 * 366} at most.`);
}

async function requestOf(file: string | undefined, options: PreviewOptions): Promise<PreviewRequest> {
  const changed = file === undefined ? undefined : await readPolicy(file);
  const read = (option: string, files: readonly string[] = []) =>
    Promise.all(files.map((name) => readNamed(option, name)));
  const lists = {
    bypass: [...(changed?.lists.bypass ?? []), ...(await read("--list", options.list))],
    decrypt: [...(changed?.lists.decrypt ?? []), ...(await read("--decrypt-list", options.decryptList))],
  };
  const bypasses = [...(options.bypass ?? [])];
  return { hours: options.hours, bypasses, lists, ...(changed && { policy: changed.policy }) };
}

/** Every error in the file is reported first, as `clearline check` does. */
async function readPolicy(file: string) {
  const { loadConfig } = await import("../../config/load.ts");
  const { readDocument } = await import("../../config/document.ts");
  const { config } = await loadConfig(file);
  const { root } = await readDocument(file);
  const policy: Record<string, unknown> = Object(Object(root).policy);
  const texts = (files: readonly string[]) => Promise.all(files.map((name) => readNamed("policy.lists", name)));
  const { bypass, decrypt } = config.policy.lists;
  return { policy, lists: { bypass: await texts(bypass), decrypt: await texts(decrypt) } };
}

type Change = Preview["changes"][number];

function page(
  { sessions, changed, earlier, covered, changes, notJudged, unsure, notes }: Preview,
  hours: number,
): string[] {
  const { failed, good, dropped } = covered;
  const bypassed = failed + good + dropped + covered.live;
  const counts = (why: string, count: number) => color.dim(`${amount(count, "session")}: ${plain(why)}.`);
  return [
    `Of ${amount(sessions, "session")} of the last ${hours} h, ${changed} would be decided otherwise.`,
    ...(bypassed > 0
      ? [`A bypass would have covered ${failed} failed, ${good} good and ${dropped} dropped ones.`]
      : []),
    ...(changes.length > 0 ? ["", tableOf(changes)] : []),
    ...(unsure.length > 0 ? ["", color.bold("Changed, unless one more fact decides otherwise")] : []),
    ...unsure.map(({ why, sessions: count }) => counts(why, count)),
    ...(notJudged.length > 0 ? ["", color.bold("Not to be judged by what is on record")] : []),
    ...notJudged.map(({ why, sessions: count }) => counts(why, count)),
    ...(earlier > 0
      ? [color.dim(`${amount(earlier, "session")} would be decided otherwise by the running policy already.`)]
      : []),
    ...notes.map((note) => color.dim(`${plain(note)}.`)),
  ];
}

function tableOf(changes: readonly Change[]): string {
  const paint = (side: "before" | "after") => (change: Change) => verdictColor(change[side].verdict);
  return table<Change>(
    [
      { title: "BEFORE", rank: 0, value: ({ before }) => before.verdict ?? "none", paint: paint("before") },
      { title: "BY", rank: 2, min: 12, value: ({ before }) => before.rule },
      { title: "AFTER", rank: 0, value: ({ after }) => after.verdict ?? "none", paint: paint("after") },
      { title: "BY", rank: 0, min: 12, value: ({ after }) => after.rule },
      { title: "SESSIONS", rank: 0, right: true, value: ({ sessions }) => sessions },
      { title: "FAILED", rank: 1, right: true, value: ({ outcomes }) => outcomes.failed },
      { title: "EXAMPLE", rank: 0, value: ({ examples }) => examples.at(-1)?.id },
      { title: "HOST", rank: 1, min: 12, value: ({ examples }) => examples.at(-1)?.host },
    ],
    changes,
  );
}
