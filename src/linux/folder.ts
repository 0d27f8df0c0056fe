import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a folder, mode 0700, and those of its parents that are missing. Throws the system's errors.
 *
 * Node's own `recursive: true` never returns where the system refuses a folder with ENOENT although its parent exists, as it
 * does in /proc.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeOne(path);
  } catch (error) {
    const parent = dirname(path);
    if ((error as NodeJS.ErrnoException).code !== "ENOENT" || parent === path) throw error;
    await makeFolder(parent);
    // Once more, and no oftener: somebody else may have made the parent meanwhile, or the system refuses this folder.
    await makeOne(path);
  }
}

/** Makes one folder, unless it is there. */
async function makeOne(path: string): Promise<void> {
  try {
    await mkdir(path, 0o700);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !(await isFolder(path))) throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
