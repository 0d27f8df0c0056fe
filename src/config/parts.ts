import type { z } from "zod";
import { FEED, type FeedConfig } from "./feed.ts";
import { LISTENER, type ListenerConfig } from "./listener.ts";
import { LOG_TARGET, type LogTarget } from "./log-section.ts";
import { POLICY, RULE, type RuleConfig } from "./policy-section.ts";
import { pathOf, valueAt } from "./problem.ts";
import type { Located } from "./row.ts";
import { CONFIG, type WrittenConfig } from "./schema.ts";
import { TOOL, type ToolConfig } from "./tool.ts";

/**
 * The parts of a configuration that could be parsed, typed and with their defaults. One part's mistakes do not keep the others
 * from being checked against each other.
 */
export interface Parts {
  readonly console: WrittenConfig["console"] | undefined;
  readonly signing: WrittenConfig["signing"] | undefined;
  readonly resumption: WrittenConfig["resumption"] | undefined;
  readonly revocation: WrittenConfig["policy"]["revocation"] | undefined;
  readonly logTargets: readonly Located<LogTarget>[];
  readonly listeners: List<ListenerConfig>;
  readonly tools: List<ToolConfig>;
  readonly feeds: List<FeedConfig>;
  readonly rules: List<RuleConfig>;
}

interface List<Value> {
  /** The names of all entries, with mistakes or not: other parts refer to them. */
  readonly names: readonly Located<string>[];
  /** The entries without mistakes. */
  readonly entries: readonly Located<Value>[];
}

export function parseParts(root: unknown): Parts {
  const section = <Schema extends z.ZodType>(schema: Schema, ...keys: string[]): z.output<Schema> | undefined =>
    schema.safeParse(valueAt(root, keys)).data;
  return {
    console: section(CONFIG.shape.console, "console"),
    signing: section(CONFIG.shape.signing, "signing"),
    resumption: section(CONFIG.shape.resumption, "resumption"),
    revocation: section(POLICY.shape.revocation, "policy", "revocation"),
    logTargets: parseList(LOG_TARGET, root, "log", "targets").entries,
    listeners: parseList(LISTENER, root, "listeners"),
    tools: parseList(TOOL, root, "tools"),
    feeds: parseList(FEED, root, "feeds"),
    rules: parseList(RULE, root, "policy", "rules"),
  };
}

function parseList<Schema extends z.ZodType>(schema: Schema, root: unknown, ...keys: string[]): List<z.output<Schema>> {
  const list = valueAt(root, keys);
  const written: unknown[] = Array.isArray(list) ? list : [];
  return {
    names: written.flatMap((entry, index) => {
      const name = valueAt(entry, ["name"]);
      return typeof name === "string" ? [{ path: pathOf([...keys, index]), value: name.trim() }] : [];
    }),
    entries: written.flatMap((entry, index) => {
      const { success, data } = schema.safeParse(entry);
      return success ? [{ path: pathOf([...keys, index]), value: data }] : [];
    }),
  };
}
