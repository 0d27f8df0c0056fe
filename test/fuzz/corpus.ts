import { readFileSync } from "node:fs";

/** The saved inputs of a parser: one a line, in hex. Inputs that once made it fail are added there. */
export function corpus(name: string): readonly Buffer[] {
  const text = readFileSync(new URL(`corpus/${name}.hex`, import.meta.url), "utf8");
  return text
    .trim()
    .split("\n")
    .map((line) => Buffer.from(line, "hex"));
}
