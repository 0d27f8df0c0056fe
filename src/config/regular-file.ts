import { readFile, stat } from "node:fs/promises";

/** Reads a whole file. Only plain files are opened: a pipe or a device could block the node for ever. */
export async function readRegularFile(
  file: string,
  largest: number,
  encoding: BufferEncoding = "utf8",
): Promise<{ readonly text: string; readonly mode: number } | { readonly problem: string }> {
  try {
    const found = await stat(file);
    if (!found.isFile()) return { problem: "is not a file" };
    if (found.size > largest) return { problem: `is larger than ${sizeText(largest)}` };
    return { text: await readFile(file, encoding), mode: found.mode };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "";
    return { problem: OBSTACLES[code] ?? `cannot be read: ${code || (error as Error).message}` };
  }
}

function sizeText(bytes: number): string {
  return bytes < 2 ** 20 ? `${bytes / 2 ** 10} KiB` : `${bytes / 2 ** 20} MiB`;
}

const OBSTACLES: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  ENOTDIR: "does not exist",
  EACCES: "cannot be read: this user has no permission",
  EPERM: "cannot be read: this user has no permission",
};
