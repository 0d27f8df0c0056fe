import { domainToASCII } from "node:url";
import { z } from "zod";
import { CAUSES } from "../sessions/causes.ts";
import { compileClient } from "../sessions/client-pattern.ts";
import type { Position } from "../sessions/search.ts";
import { ACTIONS, BLAMES, FAULTS, type Fault, OUTCOMES, VERSIONS, type Version } from "../vocabulary.ts";

const END = "(INIT|SYN_SENT|SYN_RCV|EST)";

const host = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[^\s/:]+$|^[0-9a-f:.]+$/i, "not a host name")
  .transform(toAscii)
  .optional();

const subnet = z
  .string()
  .max(64)
  .refine((text) => compileClient(text) !== undefined, "not an address or a subnet such as 10.0.0.0/8")
  .optional();

const text = z.string().min(1).max(256).optional();

export const moment = z
  .string()
  .max(40)
  .refine(
    (text) => Number.isFinite(readMoment(text)),
    "not a time such as 2026-11-28T14:00:00Z, nor ms since the epoch",
  )
  .transform(readMoment)
  .optional();

/** In ms since the epoch; NaN: it is none. */
function readMoment(text: string): number {
  if (/^\d{1,16}$/.test(text)) return Number(text);
  return /^\d{4}-\d{2}-\d{2}(?:T|$)/.test(text) ? Date.parse(text) : Number.NaN;
}

/** One or several of these words, separated by commas. */
export function anyOf<const Word extends string>(words: readonly Word[]) {
  return z
    .string()
    .max(512)
    .transform((text) => text.split(",") as Word[])
    .superRefine((given, context) => {
      const wrong = given.find((word) => !words.includes(word));
      if (wrong === undefined) return;
      context.addIssue({ code: "custom", message: `${JSON.stringify(wrong)} is none of ${words.join(", ")}` });
    })
    .optional();
}

/** Which sessions to find. What is left out may have any value. */
export const sessionFilter = z.strictObject({
  host: host.describe(
    "SNI, CONNECT host or a recorded name of the server's certificate, the first 64; `*` stands for any characters",
  ),
  sni: host.describe("as `host`, but the certificate's names do not count"),
  subject: text.describe("text in the distinguished name of the server's certificate; `*` stands for any characters"),
  state: z
    .string()
    .regex(new RegExp(`^${END}(:${END}){0,3}$`, "i"), "not a state such as EST:EST:INIT:INIT, nor the beginning of one")
    .optional()
    .describe("Na:Nb:Ta:Tb, or its first ends"),
  verdict: z.enum([...ACTIONS, "none"]).optional(),
  listener: z.string().optional(),
  client: subnet.describe("the client's address, or a subnet: 10.0.0.0/8, 2001:db8::/32"),
  server: subnet.describe("the server's address, or a subnet"),
  outcome: anyOf(OUTCOMES).describe(`how it ended, one or several separated by commas: ${OUTCOMES.join(", ")}`),
  cause: anyOf(CAUSES).describe("why it ended so, one or several codes separated by commas: unknown_ca, timeout"),
  blame: z.enum(BLAMES).optional().describe("who is to blame for the end"),
  reason: text.describe("text in the verdict's reason, or in why the session ended; `*` stands for any characters"),
  rule: z.string().min(1).max(256).optional().describe("the rule, list or built-in that decided"),
  fault: z
    .enum(FAULTS as [Fault, ...Fault[]])
    .optional()
    .describe("a fault of the server's certificate"),
  version: z
    .enum(Object.keys(VERSIONS) as [Version, ...Version[]])
    .optional()
    .describe("the version of one of the legs"),
  communityId: z
    .string()
    .regex(/^1:[A-Za-z\d+/]{27}=$/, "not a Community ID of version 1")
    .optional()
    .describe("the Community ID of the client and the server"),
  ja4: z
    .string()
    .regex(/^[tq]\d\d[di]\d{4}\w{2}_[0-9a-f]{12}_[0-9a-f]{12}$/, "not a JA4 fingerprint")
    .optional()
    .describe("the JA4 fingerprint of the ClientHello"),
  since: moment.describe("sessions that began then or later: ms since the epoch, or a time of ISO 8601"),
  until: moment.describe("sessions that began before: ms since the epoch, or a time of ISO 8601"),
});

/** The place of a list's end, for the next part of it. */
export const cursor = z
  .string()
  .regex(/^\d{1,16}_[\w-]{1,128}$/, "not a cursor: it must be the `next` of an earlier answer")
  .transform((text): Position => {
    const at = text.indexOf("_");
    return { start: Number(text.slice(0, at)), id: text.slice(at + 1) };
  })
  .optional()
  .describe("the list goes on behind this place: the `next` of an earlier answer to the same search");

export function writeCursor({ start, id }: Position): string {
  return `${start}_${id}`;
}

/** Searches need the form that is on the wire: A-labels. A label with `*` stays as it is written. */
function toAscii(host: string): string {
  const labels = host.split(".").map((label) => (/[^\0-\x7f]/.test(label) && domainToASCII(label)) || label);
  return labels.join(".");
}
