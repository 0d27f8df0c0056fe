import { resolve } from "node:path";
import { LARGEST_TEMPLATE, templateFault } from "../page/template.ts";
import { type CompiledList, compileList, unendedWarning } from "./list-file.ts";
import { type Problem, pathOf, show, valueAt } from "./problem.ts";
import { readRegularFile } from "./regular-file.ts";

/** The content of the files that a configuration names. */
export interface ReferencedFiles {
  /** Policy lists, by the path in the configuration: "policy.lists.bypass[0]". */
  readonly lists: ReadonlyMap<string, CompiledList>;
  /** The text of the other files, or base64 for binary ones, by the path in the configuration. */
  readonly texts: ReadonlyMap<string, string>;
  readonly problems: readonly Problem[];
  readonly warnings: readonly string[];
}

/**
 * Reads every file that is named, whatever mistakes there are elsewhere, so that missing files are reported together with all
 * other errors. Relative names are relative to `folder`.
 */
export async function readReferencedFiles(root: unknown, folder: string): Promise<ReferencedFiles> {
  const lists = new Map<string, CompiledList>();
  const texts = new Map<string, string>();
  const problems: Problem[] = [];
  const warnings: string[] = [];
  for (const { keys, kind } of referencesIn(root)) {
    const path = pathOf(keys);
    const named = valueAt(root, keys);
    if (typeof named !== "string" || named === "") continue;
    const file = resolve(folder, named);
    const content = await readRegularFile(file, LARGEST[kind], kind === "binary" ? "base64" : "utf8");
    if ("problem" in content) {
      problems.push({ path, says: `is ${show(named)}, but ${file} ${content.problem}` });
    } else if (kind === "list") {
      const list = await compileList(content.text);
      const { problems: bad, unended } = list;
      if (unended !== undefined) warnings.push(unendedWarning(path, file, unended));
      lists.set(path, list);
      problems.push(
        ...bad
          .slice(0, MOST_LINES)
          .map(({ line, message }) => ({ path, says: `names a list with a mistake: ${file}:${line}: ${message}` })),
      );
      if (bad.length > MOST_LINES)
        problems.push({ path, says: `names a list with ${bad.length - MOST_LINES} more mistakes: ${file}` });
    } else if (kind === "page") {
      const fault = templateFault(content.text);
      texts.set(path, content.text);
      if (fault) problems.push({ path, says: `names a template that ${fault}: ${file}` });
    } else {
      texts.set(path, kind === "passphrase" ? firstLine(content.text) : content.text);
      if (kind !== "pem" && (content.mode & 0o077) !== 0) {
        warnings.push(
          `${path} is ${show(named)}, which users other than its owner can access (mode ${(content.mode & 0o777).toString(8)}); chmod 600 makes it private`,
        );
      }
    }
  }
  return { lists, texts, problems, warnings };
}

/** All kinds but list, pem and page are secrets. binary: PKCS#12, or a file of random bytes. */
type Kind = "list" | "pem" | "page" | "key" | "binary" | "passphrase";

const LARGEST: Readonly<Record<Kind, number>> = {
  list: 64 * 2 ** 20,
  pem: 16 * 2 ** 20,
  page: LARGEST_TEMPLATE,
  key: 2 ** 20,
  binary: 2 ** 20,
  passphrase: 2 ** 20,
};
const MOST_LINES = 20;

/** Every key whose file is read. A new one is one more line here. */
function referencesIn(root: unknown): { readonly keys: readonly PropertyKey[]; readonly kind: Kind }[] {
  const each = (list: readonly string[]) => {
    const value = valueAt(root, list);
    return Array.isArray(value) ? value.map((_, index) => [...list, index]) : [];
  };
  const stores = [["keyStore"], ["keyStore", "former"]];
  const pairs = [["console", "tls"], ["signing", "primary"], ["signing", "secondary"], ...each(["keys"])];
  return [
    ...each(["trust", "files"]).map((keys) => ({ keys, kind: "pem" as const })),
    { keys: ["policy", "page", "template"], kind: "page" },
    ...each(["policy", "lists", "bypass"]).map((keys) => ({ keys, kind: "list" as const })),
    ...each(["policy", "lists", "decrypt"]).map((keys) => ({ keys, kind: "list" as const })),
    ...pairs.map((pair) => ({ keys: [...pair, "certificate"], kind: "pem" as const })),
    ...pairs.map((pair) => ({ keys: [...pair, "key"], kind: "key" as const })),
    { keys: ["console", "oidc", "clientSecretFile"], kind: "key" as const },
    { keys: ["console", "oidc", "trust"], kind: "pem" as const },
    { keys: ["resumption", "secret"], kind: "key" as const },
    ...each(["log", "targets"]).map((target) => ({ keys: [...target, "trust"], kind: "pem" as const })),
    ...each(["webhooks"]).map((hook) => ({ keys: [...hook, "secret"], kind: "key" as const })),
    ...pairs.map((pair) => ({ keys: [...pair, "pkcs12"], kind: "binary" as const })),
    ...[...pairs, ...stores].map((owner) => ({ keys: [...owner, "passphraseFile"], kind: "passphrase" as const })),
    ...stores.map((store) => ({ keys: [...store, "keyFile"], kind: "binary" as const })),
  ];
}

/** The passphrase is the first line without its end, as in openssl's passphrase files: editors add a line end. */
function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0] ?? "";
}
