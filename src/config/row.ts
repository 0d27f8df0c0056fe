import { z } from "zod";
import type { HostPort } from "./formats.ts";
import type { Problem } from "./problem.ts";

/**
 * A listener mode, a tool kind or a feed kind: its schema, and what the checks and the user need to know about an entry. A new
 * one is one more row in `LISTENERS`, `TOOLS` or `FEEDS`. Keys and paths are relative to the entry.
 */
export interface Row<Value> {
  /** Where it is, on one line for the user: "10.0.9.5:3128", "eth1 to eth2". */
  place(value: Value): string;
  /** The addresses at which the node listens for it. */
  listensAt?(value: Value): readonly Listening[];
  /** The addresses of other programs that the node connects to, which must not be the node's own. */
  connectsTo?(value: Value): readonly Address[];
  /** The network interfaces that it uses. */
  interfaces?(value: Value): readonly Interface[];
  /** The files that it writes, of which the oldest are deleted. */
  writes?(value: Value): readonly FileSeries[];
  /** The same entry with its file names made absolute by `at`. */
  withFiles?(value: Value, at: (name: string) => string): Value;
  /** What works, but exposes more than the user may expect. */
  warnings?(value: Value): readonly Problem[];
  /** Conflicts between keys of one entry. */
  conflicts?(value: Value): readonly Problem[];
  /** Conflicts between several entries of this kind. These paths begin with the entry's. */
  conflictsAmong?(entries: readonly Located<Value>[]): readonly Problem[];
}

interface Address {
  readonly key: string;
  readonly address: HostPort;
}

interface Listening extends Address {
  /** The node does not start while another program uses the port. */
  readonly required: boolean;
}

interface Interface {
  readonly key: string;
  readonly name: string;
  /** It carries the sessions themselves: no other listener, tool or feed may use it. */
  readonly inPath: boolean;
}

/** Files named `<stem>-<time>-w<worker>.<extension>` in one folder, or with an empty extension without the dot. */
export interface FileSeries {
  readonly key: string;
  readonly directory: string;
  readonly stem: string;
  readonly extension: string;
}

/** An entry of a list, with its path in the file: "listeners[0]". */
export interface Located<Value> {
  readonly path: string;
  readonly value: Value;
}

/** One row of a table. */
export function row<Schema extends z.ZodType>(
  schema: Schema,
  rest: Row<z.output<Schema>>,
): Row<z.output<Schema>> & { readonly schema: Schema } {
  return { schema, ...rest };
}

type Rows = Readonly<Record<string, { readonly schema: z.core.$ZodTypeDiscriminable }>>;

/** The schema of an entry that may be of any kind in the table; `key` says which. */
export function anyOf<Key extends "kind" | "mode", Table extends Rows>(key: Key, rows: Table) {
  type Schema = Table[keyof Table]["schema"];
  return z.discriminatedUnion(key, Object.values(rows).map(({ schema }) => schema) as [Schema, ...Schema[]]);
}
