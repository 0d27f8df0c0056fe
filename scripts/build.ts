/**
 * Makes dist/ for `npm pack`: Node strips types only outside of node_modules, so an installed package needs JavaScript. Each file
 * keeps its lines and columns, and its place: dist/cli/main.js is src/cli/main.ts.
 */
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname, join } from "node:path";

const root = join(import.meta.dirname, "..");
const target = join(root, "dist");
rmSync(target, { recursive: true, force: true });
for (const file of globSync("**/*.ts", { cwd: join(root, "src") })) {
  // Tests, and what only they use, stay at home.
  if (/(?:\.test|-compliance)\.ts$|\/test-[\w-]+(?:\.ts$|\/)/.test(file)) continue;
  const made = join(target, file.replace(/\.ts$/, ".js"));
  mkdirSync(dirname(made), { recursive: true });
  writeFileSync(made, toJavaScript(readFileSync(join(root, "src", file), "utf8")));
}

function toJavaScript(source: string): string {
  // Relative names of modules, also those of workers.
  return stripTypeScriptTypes(source).replaceAll(/"((?:\.{1,2}\/)?[\w./-]+)\.ts"/g, '"$1.js"');
}
