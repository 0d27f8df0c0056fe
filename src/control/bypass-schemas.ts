import { z } from "zod";
import { duration } from "../config/formats.ts";
import { readBypassEntry } from "../policy/bypass.ts";
import { MOST_COMMENT } from "../policy/bypass-book.ts";
import { time } from "../sessions/record.ts";

/** The shapes of requests and answers about bypasses with an end. */

const ms = z.int().nonnegative();

export const bypass = z.object({
  id: z.string().describe('eight hex digits; the rule of its sessions is "bypass ID"'),
  entry: z.string().describe("the host, wildcard, address, subnet or range that is bypassed"),
  kind: z.enum(["host", "address"]),
  author: z.string().describe("who added it: the name of the token"),
  comment: z.string().describe("why"),
  made: time,
  expires: time.nullable().describe("its end, in ms since the epoch; null: it has none"),
  remaining: ms
    .nullable()
    .describe(
      "ms until its end, on a clock that nobody sets: it ends then, whatever the machine's clock says; null: never",
    ),
  hits: ms.describe("the sessions of this node that it decided"),
  lastHit: time.nullable().describe("when it decided the last one, in ms since the epoch; null: none"),
});

const LONGEST = duration({ min: "1s", max: "366d" });

export const newBypass = z.strictObject({
  entry: z
    .string()
    .transform((text, context) => {
      const entry = readBypassEntry(text);
      if (entry !== undefined) return entry;
      const shown = JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
      const message = `is ${shown}, neither a host name, a wildcard such as *.example.com, an address nor a subnet (without scheme, port and path)`;
      context.issues.push({ code: "custom", message, input: text });
      return z.NEVER;
    })
    .describe("a host name, a wildcard such as *.example.com, an address, a subnet or a range, as in lists"),
  for: z
    .string()
    .transform((text, context) => {
      if (text === "ever") return null;
      const read = LONGEST.safeParse(text);
      if (read.success) return read.data;
      for (const { message } of read.error.issues)
        context.issues.push({ code: "custom", message: `${message}, and not ever`, input: text });
      return z.NEVER;
    })
    .describe("for how long: 1h, 24h, 7d, 366d at most; ever: until it is removed"),
  comment: z
    .string()
    .trim()
    .min(1)
    .max(MOST_COMMENT)
    .regex(/^\P{C}*$/u, "not a text without control characters")
    .describe("why; explanations and records show it"),
});

export const addedBypass = z.object({
  bypass,
  replaced: z
    .object({ id: z.string(), expires: time.nullable() })
    .nullable()
    .describe("the earlier bypass of the same entry, which has ended with this; null: there was none"),
  notes: z
    .array(z.string())
    .readonly()
    .describe("what else decides about the entry, one sentence each: a drop rule that comes first, a list"),
});
