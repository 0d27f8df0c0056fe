import { parseDocument, type YAMLError } from "yaml";
import { ConfigError } from "../errors.ts";
import { readRegularFile } from "./referenced-files.ts";

/** What a YAML file says, before anybody asks what it means. `root` undefined: it cannot be told what it says. */
export interface Document {
  readonly root: unknown;
  readonly errors: readonly ConfigError[];
}

const LARGEST = 4 * 2 ** 20;
/** One misplaced bracket can make every line after it wrong. */
const MOST_FAULTS = 20;

export async function readDocument(file: string): Promise<Document> {
  const content = await readRegularFile(file, LARGEST);
  if ("text" in content) return parseYaml(file, content.text);
  return { root: undefined, errors: [new ConfigError("", `Cannot read ${file}: it ${content.problem}`)] };
}

/** Reads YAML text. A key that stands twice leaves the rest readable; any other mistake of syntax does not. */
export function parseYaml(name: string, text: string): Document {
  try {
    const document = parseDocument(text, { stringKeys: true, logLevel: "silent" });
    const faults = [...document.errors, ...document.warnings];
    if (faults.some(({ code }) => code === "RESOURCE_EXHAUSTION")) throw new RangeError("Nested too deeply");
    const errors = faults.slice(0, MOST_FAULTS).map((fault) => syntaxError(name, text, fault));
    if (faults.some(({ code }) => code !== "DUPLICATE_KEY")) return { root: undefined, errors };
    // An empty file is an empty group of keys: what is missing in it will be told.
    return { root: document.toJS({ maxAliasCount: 100 }) ?? {}, errors };
  } catch (error) {
    // RangeError: nested deeper than the stack. ReferenceError: aliases that unfold to more than anybody wrote.
    if (!(error instanceof RangeError || error instanceof ReferenceError)) throw error;
    const message = error instanceof RangeError ? "it is nested too deeply" : "it repeats its aliases too often";
    return { root: undefined, errors: [new ConfigError("", `Cannot read ${name}: ${message}`, { cause: error })] };
  }
}

function syntaxError(name: string, text: string, { code, message, pos, linePos }: YAMLError): ConfigError {
  const [start] = linePos ?? [{ line: 1, col: 1 }];
  const place = `${start.line}:${start.col}`;
  // The library's text goes on with its own place and a picture of the line.
  const [first = ""] = message.split(/ at line \d|\n/);
  const key = /^[^\s:]+/.exec(text.slice(pos[0], pos[0] + 80))?.[0] ?? "";
  return new ConfigError(
    place,
    `Cannot read ${name}:${place}: ${code === "DUPLICATE_KEY" ? `the key ${key} stands twice` : first}`,
  );
}
