import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** First flights of real clients as they were on the wire, by file name. */
export const RECORDED: Readonly<Record<string, Buffer>> = Object.fromEntries(
  globSync(`${import.meta.dirname}/*.hex`).map((file) => [
    basename(file, ".hex"),
    Buffer.from(readFileSync(file, "utf8").replaceAll(/\s/g, ""), "hex"),
  ]),
);
