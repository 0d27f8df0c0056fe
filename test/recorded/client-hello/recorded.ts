import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";

/** First flights of real clients, by file name, as they stood on the wire. */
export const RECORDED: Readonly<Record<string, Buffer>> = Object.fromEntries(
  globSync(`${import.meta.dirname}/*.hex`).map((file) => [
    basename(file, ".hex"),
    Buffer.from(readFileSync(file, "utf8").replaceAll(/\s/g, ""), "hex"),
  ]),
);
