import { type FileHandle, open } from "node:fs/promises";
import { ConfigError } from "../errors.ts";
import { harmlessJson } from "./render.ts";

/**
 * Writes what a node sends to a file with mode 0600, or to standard output. "text" is JSON, and harmless on a terminal; "bytes" are not
 * written to a terminal. Throws ConfigError where the file cannot be written.
 */
export async function writeFileOrOutput(
  pieces: AsyncIterable<Uint8Array>,
  file: string | undefined,
  kind: "text" | "bytes",
): Promise<void> {
  const isTerminal = process.stdout.isTTY === true;
  if (file === undefined && kind === "bytes" && isTerminal)
    throw new ConfigError(
      "output",
      "Cannot write packets to a terminal: give a file with -o, or pipe them to a program",
    );
  if (file !== undefined) {
    await save(pieces, file);
    return;
  }
  const decoder = new TextDecoder();
  for await (const piece of pieces) {
    const shown = isTerminal ? harmlessJson(decoder.decode(piece, { stream: true })) : piece;
    if (!process.stdout.write(shown)) await new Promise((resolve) => process.stdout.once("drain", resolve));
  }
}

async function save(pieces: AsyncIterable<Uint8Array>, file: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    for await (const piece of pieces) {
      // The node has answered: until then an existing file stays as it is.
      handle ??= await open(file, "w", 0o600);
      // Unlike write, it goes on where a part alone was written.
      await handle.writeFile(piece);
    }
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === undefined || syscall === undefined) throw error;
    throw new ConfigError("output", `Cannot write ${file}: ${code}`, { cause: error });
  } finally {
    await handle?.close();
  }
}
