import { readFile } from "node:fs/promises";
import { ConfigError } from "../errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "no permission",
  EISDIR: "it is a folder",
};

/** The text of a file that the user named in an option. Throws ConfigError, which says both. */
export async function readNamed(option: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    throw new ConfigError(option, `Cannot read ${file} (${option}): ${REASONS[code] ?? code}`, { cause: error });
  }
}
