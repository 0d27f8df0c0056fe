import { readFile } from "node:fs/promises";
import { ConfigError } from "../errors.ts";

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "no permission",
  EISDIR: "it is a folder",
};

/** The text of a file, or its bytes as base64, that the user named in an option. Throws ConfigError, which says both. */
export async function readNamed(option: string, file: string, encoding: BufferEncoding = "utf8"): Promise<string> {
  try {
    return await readFile(file, encoding);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    throw new ConfigError(option, `Cannot read ${file} (${option}): ${REASONS[code] ?? code}`, { cause: error });
  }
}
