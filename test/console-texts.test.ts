import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";

/** Text between tags, names of columns, and attributes that are read to somebody. */
const TEXTS = [
  /(?<!=)>\s*([^<>{}=;()[\]]*[A-Za-z]{2}[^<>{}=;()[\]]*)</g,
  /\bname: "([A-Z][^"]*)"/g,
  /\b(?:title|aria-label|label|hint|text|reason)="([^"]*[A-Za-z][^"]*)"/g,
  // A sentence, or words that are put together.
  /["`]([A-Z][a-z]+ (?!\$)[^"`]*)["`]/g,
  /["`]((?:[a-z]+ )*(?:is|are|the|has|it|by|of) [^"`]*)["`]/g,
];

test("All English of the console stands in one file", () => {
  const found = globSync("console/src/**/*.{ts,tsx}")
    .filter((file) => !file.endsWith("texts.ts"))
    .flatMap((file) => {
      const code = readFileSync(file, "utf8").replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$|command=\S*/gm, "");
      return TEXTS.flatMap((text) => [...code.matchAll(text)].map(([, words]) => `${file}: ${words!.trim()}`));
    });
  assert.deepEqual(found, []);
});
