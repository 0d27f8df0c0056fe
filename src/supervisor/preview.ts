import { compileList } from "../config/list-file.ts";
import { POLICY } from "../config/policy-section.ts";
import { nameKnownKeys, problemsOf } from "../config/problem.ts";
import type { Preview, PreviewRequest } from "../control/api.ts";
import { sessionsSince } from "../control/session-search.ts";
import { ConfigError } from "../errors.ts";
import { type Bypass, BypassTable, readBypassEntry } from "../policy/bypass.ts";
import { compilePolicy, type Policy } from "../policy/evaluate.ts";
import type { PolicySource } from "../policy/rule.ts";
import { PreviewReporter } from "./preview-reporter.ts";
import type { NodeState } from "./state.ts";

/** Previews run one after the other: each reads as much of the history as the disk gives. */
let running: Promise<unknown> = Promise.resolve();

/** What a change of the policy would have decided about the sessions on record. Throws ConfigErrors. */
export function previewPolicy(state: NodeState, request: PreviewRequest): Promise<Preview> {
  const preview = running.then(async () => {
    const since = Math.floor(Date.now() - request.hours * 3_600_000);
    const reporter = new PreviewReporter(since, state.active.policy, await changedPolicy(state, request));
    for await (const some of sessionsSince(state, since)) for (const session of some) reporter.add(session);
    return { ...reporter.answer(), notes: notesOn(state, request) };
  });
  running = preview.catch(() => {});
  return preview;
}

async function changedPolicy(state: NodeState, { policy, lists, bypasses }: PreviewRequest): Promise<Policy> {
  const { source } = state.active.policy;
  const read = policy ? readPolicy(policy) : undefined;
  const given = { bypass: await tables("bypass", lists.bypass), decrypt: await tables("decrypt", lists.decrypt) };
  const merged: PolicySource["lists"] = read
    ? given
    : {
        bypass: [...source.lists.bypass, ...given.bypass],
        decrypt: [...source.lists.decrypt, ...given.decrypt],
      };
  const { overload = "bypass", onMissingKey = {} } = source;
  const changed = { ...(read ?? source), lists: merged, onMissingKey, overload };
  const table = new BypassTable();
  table.replace([...state.bypasses.active(), ...bypasses.map(previewed)]);
  return compilePolicy(changed, table);
}

function readPolicy(policy: unknown) {
  const { success, data, error } = POLICY.safeParse(policy, { error: nameKnownKeys });
  if (success) return data;
  const errors = problemsOf(error.issues, policy).map(({ path, says }) => {
    const place = path ? `policy.${path}` : "policy";
    return new ConfigError(place, `${place} ${says}`);
  });
  throw new AggregateError(errors);
}

async function tables(name: "bypass" | "decrypt", texts: readonly string[]): Promise<Uint8Array[]> {
  const compiled: Uint8Array[] = [];
  for (const [index, text] of texts.entries()) {
    const { table, entries, problems } = await compileList(text);
    const place = `lists.${name}[${index}]`;
    if (problems.length > 0) {
      const errors = problems.slice(0, 10).map(({ line, message }) => `${place} line ${line}: ${message}`);
      throw new AggregateError(errors.map((message) => new ConfigError(place, message)));
    }
    if (entries > 0) compiled.push(table);
  }
  return compiled;
}

/** A bypass as if somebody had added it. */
function previewed(text: string, index: number): Bypass {
  const entry = readBypassEntry(text);
  if (entry === undefined) {
    const path = `bypasses[${index}]`;
    throw new ConfigError(
      path,
      `${path} is ${JSON.stringify(text.slice(0, 60))}, neither a host name, a wildcard such as *.example.com, an address nor a subnet`,
    );
  }
  return {
    id: `preview-${index + 1}`,
    entry,
    author: "preview",
    comment: "as in this preview",
    made: Date.now(),
    expires: null,
  };
}

function notesOn({ active, history }: NodeState, { policy }: PreviewRequest): string[] {
  const { state, reason } = history.info();
  const { listeners } = active.loaded.config;
  return [
    ...(state === "stopped" ? [`The history cannot be used now, so sessions are missing: ${reason}`] : []),
    ...(listeners.some(({ mode }) => mode === "inline")
      ? ["Connections that the kernel bypassed on an inline listener are no sessions, and are not judged"]
      : []),
    ...(policy ? ["Of the file only the section policy counts; revocation is not asked anew"] : []),
  ];
}
