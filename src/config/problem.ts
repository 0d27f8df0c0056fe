import type { z } from "zod";

/** A mistake in the file: its path, "policy.rules[3].match.port", and the rest of the sentence, "is 70000, above 65535". */
export interface Problem {
  readonly path: string;
  readonly says: string;
  /** The mistake is the key itself, not its value. */
  readonly isKey?: true;
}

/** "policy.rules[3].match.port". A key that is not a plain word is written as policy["a key"]. */
export function pathOf(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`;
    const name = String(key);
    if (!/^[A-Za-z_][\w-]*$/.test(name)) return `${path}[${JSON.stringify(name)}]`;
    return path === "" ? name : `${path}.${name}`;
  }, "");
}

/** The keys of a path that `pathOf` wrote. Undefined: it is not a path in the file. */
export function keysOf(path: string): PropertyKey[] | undefined {
  const keys: PropertyKey[] = [];
  let end = 0;
  for (const { 0: part, 1: name, 2: index, 3: quoted, index: at } of path.matchAll(PATH_PART)) {
    if (at !== end) return undefined;
    end = at + part.length;
    keys.push(name ?? (index === undefined ? JSON.parse(quoted!) : Number(index)));
  }
  return end === path.length ? keys : undefined;
}

const PATH_PART = /(?:^|\.)([A-Za-z_][\w-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/g;

/** The value at a path of what was read. Undefined: there is none. */
export function valueAt(root: unknown, keys: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of keys) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** A value as messages show it: short, on one line. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "a group of keys";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Puts the known keys into the message about an unknown one, so that `problemsOf` can suggest the closest. */
export const nameKnownKeys: z.core.$ZodErrorMap = (issue) => {
  const shape =
    issue.code === "unrecognized_keys" ? (issue.inst?._zod.def as { shape?: object } | undefined)?.shape : undefined;
  return shape ? Object.keys(shape).join(" ") : undefined;
};

/** Words the issues of a failed check for the user. `root` is the value that was checked with `nameKnownKeys`. */
export function problemsOf(issues: readonly z.core.$ZodIssue[], root: unknown): Problem[] {
  return issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys")
      return [{ path: pathOf(issue.path), says: sentenceEnd(issue, valueAt(root, issue.path)) }];
    const known = issue.message.split(" ");
    return issue.keys.map((key) => ({
      path: pathOf([...issue.path, key]),
      says: `is not known${suggestion(key, known)}`,
      isKey: true,
    }));
  });
}

/** Reports a mistake from the refinement of a schema. `says` completes a sentence that begins with the path. */
export function report(context: z.RefinementCtx, path: PropertyKey[], says: string): void {
  context.addIssue({ code: "custom", path, message: says });
}

const KINDS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a group of keys",
};

function sentenceEnd(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined && issue.code !== "custom") return "is missing";
  const isList = Array.isArray(value);
  switch (issue.code) {
    case "invalid_type":
      return `is ${show(value)}, ${issue.message.startsWith("not ") ? issue.message : `not ${KINDS[issue.expected] ?? issue.expected}`}`;
    case "too_big":
      return isList
        ? `has more than ${issue.maximum} entries`
        : tooMuch(issue, value, `above ${issue.maximum}`, `longer than ${issue.maximum} characters`);
    case "too_small":
      if (value === "" || (isList && value.length === 0)) return "is empty";
      return tooMuch(issue, value, `below ${issue.minimum}`, `shorter than ${issue.minimum} characters`);
    case "invalid_value":
      return `is ${show(value)}, not one of ${issue.values.join(", ")}`;
    case "invalid_union":
      return `is ${show(value)}, ${"options" in issue ? `not one of ${issue.options.join(", ")}` : issue.message}`;
    case "custom":
      return /^(?:not|neither) /.test(issue.message) ? `is ${show(value)}, ${issue.message}` : issue.message;
    default:
      return `is ${show(value)}, ${issue.message}`;
  }
}

/** A number in a URL is a text that was read as a number. */
function tooMuch({ origin }: { readonly origin: string }, value: unknown, asNumber: string, asText: string): string {
  return `is ${show(value)}, ${origin === "string" ? asText : asNumber}`;
}

/** Suggests the closest known key, if at most about a third of its letters differ. */
function suggestion(key: string, known: readonly string[]): string {
  const ranked = known
    .map((name) => ({ name, distance: distanceOf(key.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best && best.distance <= Math.ceil(best.name.length / 3) ? `; did you mean ${best.name}?` : "";
}

/** The Levenshtein distance. */
function distanceOf(from: string, to: string): number {
  if (from.length > 40) return Infinity;
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
