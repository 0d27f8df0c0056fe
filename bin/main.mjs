/**
 * Starts the command line with a cache of compiled code. This file is JavaScript, so that Node need not load its TypeScript reader when
 * everything else is in the cache: that would take as long as a whole command.
 */
import { existsSync, lstatSync, mkdirSync, statSync } from "node:fs";
import { enableCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

const folder = cacheFolder();
if (folder !== undefined) enableCompileCache(folder);
// A checkout has the source, an installed package has JavaScript.
const start = ["../src/cli/start.ts", "../dist/cli/start.js"]
  .map((name) => new URL(name, import.meta.url))
  .find(existsSync);
await import(start.href);

/**
 * A folder for the compiled program, made when it is absent. What is in it is run, so it must be this user's alone. Undefined: there
 * is no such folder, and the program is compiled each time.
 */
function cacheFolder() {
  const own = process.getuid?.();
  try {
    // With sudo, the home folder may still be another user's.
    const parent = own === 0 ? "/var/cache" : homedir();
    if (statSync(parent).uid !== own) return undefined;
    const place = own === 0 ? join(parent, "clearline") : join(parent, ".cache", "clearline");
    mkdirSync(place, { recursive: true, mode: 0o700 });
    const found = lstatSync(place);
    return found.isDirectory() && found.uid === own && (found.mode & 0o022) === 0 ? place : undefined;
  } catch {
    return undefined;
  }
}
