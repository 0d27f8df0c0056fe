import { z } from "zod";
import { MISSING_FACTS, type MissingFact } from "../policy/past.ts";
import { action, phase, time } from "../sessions/record.ts";

/** The shapes of a preview of the policy: what a change would have decided about the sessions on record. */

const sessions = z.int().nonnegative().describe("a number of sessions");
const fact = z.enum(Object.keys(MISSING_FACTS) as [MissingFact, ...MissingFact[]]);

/** The longest time that a preview looks back, in hours. */
const MOST_HOURS = 24 * 366;

export const previewRequest = z.strictObject({
  hours: z.number().positive().max(MOST_HOURS).default(24).describe("how far back, in hours"),
  bypasses: z
    .array(z.string())
    .max(100)
    .default([])
    .describe("bypasses with an end that are added: hosts, wildcards, addresses, subnets"),
  policy: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      "the section `policy` of a configuration file, in place of the running one; its lists are in `lists`, and files that it names are not read",
    ),
  lists: z
    .strictObject({
      bypass: z.array(z.string()).max(100).default([]),
      decrypt: z.array(z.string()).max(100).default([]),
    })
    .prefault({})
    .describe("the texts of lists; with `policy` they are all lists, else they are added to the running ones"),
});

const side = z.object({
  verdict: action.nullable().describe("null: none was, or would be, given"),
  rule: z.string().nullable().describe("the rule, list or built-in that decides"),
});

const outcomes = z
  .object({
    failed: sessions.describe("client, server, tool or node failed, or the server was unreachable"),
    good: sessions.describe("decrypted, bypassed, plaintext"),
    dropped: sessions.describe("dropped by policy"),
    live: sessions.describe("live now"),
  })
  .describe("by how the sessions ended");

const missing = z.object({ fact, why: z.string().describe("one sentence"), sessions });

const verdicts = z.object({ decrypt: sessions, bypass: sessions, drop: sessions, none: sessions });

export const preview = z.object({
  since: time.describe("sessions that began earlier are not judged; ms since the epoch"),
  sessions: sessions.describe("all that were judged"),
  changed: sessions.describe("those that would be decided otherwise"),
  earlier: sessions.describe(
    "those that the running policy itself would decide otherwise than was recorded: it has changed since, a bypass has ended, or what decided is not in the record",
  ),
  covered: outcomes.describe(
    "of the changed ones, those that would be bypassed and were not, by how they ended: what a bypass would have helped, and what it would have hidden",
  ),
  before: verdicts.describe("the verdicts that were recorded, of sessions that can be judged"),
  after: verdicts.describe("the verdicts that the change would give the same sessions"),
  changes: z
    .array(
      z.object({
        before: side,
        after: side.extend({ phase: phase.nullable(), reason: z.string().describe("of the last example") }),
        sessions,
        outcomes,
        unsure: sessions.describe("of them, those that a fact which is not in the record could decide otherwise"),
        examples: z
          .array(z.object({ id: z.string(), host: z.string(), start: time }))
          .readonly()
          .describe("the last three"),
      }),
    )
    .readonly()
    .describe("by verdict and rule before and after, those with most sessions first; 100 at most"),
  notJudged: z
    .array(missing)
    .readonly()
    .describe("sessions that the change may decide otherwise, but not by the facts that are in the record"),
  unsure: z.array(missing).readonly().describe("changed sessions that one more fact could decide otherwise"),
  notes: z.array(z.string()).readonly().describe("what the preview leaves out, one sentence each"),
});
