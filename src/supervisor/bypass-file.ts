import { ConfigError } from "../errors.ts";
import { readSecret, writeSecret } from "../pki/keys/secret-file.ts";
import { type BypassBook, EMPTY_BOOK, readBook } from "../policy/bypass-book.ts";
import type { Hits } from "./bypass-hits.ts";

/** The file that keeps a node's bypasses, with what each has decided. */

export interface KeptBypasses {
  readonly book: BypassBook;
  readonly hits: readonly (readonly [id: string, hits: Hits])[];
}

/** Throws ConfigError when the file cannot be used: the bypasses in it must not be lost in silence. `notice`: see `readSecret`. */
export async function readBypassFile(file: string, notice: (text: string) => void): Promise<KeptBypasses> {
  const text = await readSecret(file, notice);
  if (text === undefined) return { book: EMPTY_BOOK, hits: [] };
  const refuse = (why: string) =>
    new ConfigError(
      "dataDir",
      `Cannot read the bypasses in ${file}: ${why}. Mend the file, or move it away to start without them`,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse("it is not JSON");
  }
  const { version, bypasses } = Object(value);
  if (version !== 1) throw refuse("its version is not 1; a later version of the node may have written it");
  const { book, problems } = readBook(value);
  if (problems.length > 0) throw refuse(problems.slice(0, 3).join(", "));
  const hits = (bypasses as Record<string, unknown>[]).flatMap(({ id, hits: count, lastHit: last }) =>
    typeof count === "number" && typeof last === "number" ? [[String(id), { count, last }] as const] : [],
  );
  return { book, hits };
}

/** Replaces the file, so that it has either all of the old content or all of the new. Throws ConfigError. */
export async function writeBypassFile(
  file: string,
  { bypasses, removed }: BypassBook,
  hitsOf: (id: string) => Hits | undefined,
): Promise<void> {
  const counted = bypasses.map((one) => {
    const { count, last } = hitsOf(one.id) ?? {};
    return { ...one, hits: count ?? 0, lastHit: last ?? null };
  });
  await writeSecret(file, `${JSON.stringify({ version: 1, bypasses: counted, removed })}\n`, false);
}
