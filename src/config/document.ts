import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLError,
  type Document as Yaml,
} from "yaml";
import { ConfigError, type ConfigPlace } from "../errors.ts";
import { excerptOf } from "./excerpt.ts";
import { keysOf, valueAt } from "./problem.ts";
import { readRegularFile } from "./regular-file.ts";

/** The content of a YAML file, not yet checked. */
export interface Document {
  /** Undefined: the file is not readable YAML; `errors` say why. */
  readonly root: unknown;
  readonly errors: readonly ConfigError[];
  /**
   * Where a path is in the file: its value, or with `isKey` its key. For a missing key, the group that lacks it. Undefined: the
   * path is not one in this file.
   */
  locate(path: string, isKey?: boolean): ConfigPlace | undefined;
  /** What the user wrote instead of a path: an option of the command line. Absent: the path. */
  nameOf?(path: string): string;
}

const LARGEST = 4 * 2 ** 20;
/** One misplaced bracket can make every line after it wrong. */
const MOST_FAULTS = 20;

export async function readDocument(file: string): Promise<Document> {
  const content = await readRegularFile(file, LARGEST);
  return "text" in content ? parseYaml(file, content.text) : unusable(`Cannot read ${file}: it ${content.problem}`);
}

/** Reads YAML text. After a duplicate key the rest is still read; after any other syntax error it is not. */
export function parseYaml(file: string, text: string): Document {
  const lineCounter = new LineCounter();
  const lines = text.split(/\r?\n/);
  const placeAt = (offset: number): ConfigPlace => {
    const { line, col } = lineCounter.linePos(offset);
    return { file, line, column: col, excerpt: excerptOf(lines[line - 1] ?? "", line, col) };
  };
  try {
    const yaml = parseDocument(text, { stringKeys: true, logLevel: "silent", lineCounter });
    const faults = [...yaml.errors, ...yaml.warnings];
    if (faults.some(({ code }) => code === "RESOURCE_EXHAUSTION")) throw new RangeError("Nested too deeply");
    const errors = faults.slice(0, MOST_FAULTS).map((fault) => syntaxError(text, fault, placeAt(fault.pos[0])));
    if (faults.some(({ code }) => code !== "DUPLICATE_KEY"))
      return { root: undefined, errors, locate: () => undefined };
    return {
      // An empty file is an empty group of keys, so that the required keys are reported as missing.
      root: yaml.toJS({ maxAliasCount: 100 }) ?? {},
      errors,
      locate(path, isKey = false) {
        const keys = keysOf(path);
        return keys && placeAt(offsetOf(yaml, keys, isKey));
      },
    };
  } catch (error) {
    // RangeError: nested deeper than the stack. ReferenceError: the aliases expand to too many nodes.
    if (!(error instanceof RangeError || error instanceof ReferenceError)) throw error;
    const why = error instanceof RangeError ? "it is nested too deeply" : "it repeats its aliases too often";
    return unusable(`Cannot read ${file}: ${why}`, error);
  }
}

function unusable(message: string, cause?: unknown): Document {
  return { root: undefined, errors: [new ConfigError("", message, { cause })], locate: () => undefined };
}

function syntaxError(text: string, { code, message, pos: [start] }: YAMLError, place: ConfigPlace): ConfigError {
  // The library appends its own position and a picture of the line.
  const [sentence = ""] = message.split(/ at line \d|\n/);
  const key = /^[^\s:]+/.exec(text.slice(start, start + 80))?.[0] ?? "";
  const says = code === "DUPLICATE_KEY" ? `the key ${key} appears twice` : sentence;
  return placedError("", says, place);
}

/** Follows the keys as far as they go. A group or a list is shown by its key, since its first line may be far below. */
function offsetOf(yaml: Yaml, keys: readonly PropertyKey[], isKey: boolean): number {
  let node: unknown = yaml.contents;
  let offset = startOf(node) ?? 0;
  for (const [depth, key] of keys.entries()) {
    const container: unknown = isAlias(node) ? node.resolve(yaml) : node;
    if (isSeq(container) && typeof key === "number") {
      node = container.items[key];
      offset = startOf(node) ?? offset;
    } else if (isMap(container)) {
      // A duplicate key: its last value counts.
      const pair = container.items.findLast((one) => isScalar(one.key) && one.key.value === key);
      if (pair === undefined) return offset;
      node = pair.value;
      const showKey = isMap(node) || isSeq(node) || (isKey && depth === keys.length - 1);
      offset = startOf(showKey ? pair.key : node) ?? startOf(pair.key) ?? offset;
    } else return offset;
  }
  return offset;
}

function startOf(node: unknown): number | undefined {
  return (node as Node | null | undefined)?.range?.[0];
}

/** Adds the place of an error's path to it. An error that has a place, or whose path is not in the file, stays as it is. */
export function withPlace(error: ConfigError, { root, locate, nameOf }: Document): ConfigError {
  const name = nameOf?.(error.path) ?? error.path;
  if (name !== error.path) return new ConfigError(name, error.message.replaceAll(error.path, name), { cause: error });
  const keys = keysOf(error.path);
  if (error.place !== undefined || !keys?.length || valueAt(root, keys) === undefined) return error;
  return placedError(error.path, error.message, locate(error.path), error);
}

/** An error whose message begins with its place: "clearline.yaml:12:5: …". */
export function placedError(path: string, message: string, place: ConfigPlace | undefined, cause?: Error): ConfigError {
  if (place === undefined) return new ConfigError(path, message, { cause });
  return new ConfigError(path, `${place.file}:${place.line}:${place.column}: ${message}`, { place, cause });
}
