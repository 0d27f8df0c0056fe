import { z } from "zod";
import { action, phase, time } from "../sessions/record.ts";
import { BLAMES, OUTCOMES } from "../vocabulary.ts";
import { explanation } from "./schemas.ts";

const decision = z.object({
  verdict: action.nullable().describe("null: nothing was decided"),
  phase: phase.nullable(),
  rule: z.string().nullable().describe("the rule, list or built-in that decides"),
  reason: z.string().nullable().describe("why, in one sentence"),
});

/** GET /sessions/{id}/explanation */
export const sessionExplanation = z.object({
  session: z.string().describe("its ID"),
  start: time,
  decided: decision
    .extend({
      monitored: decision.nullable().describe("what monitor mode stood for; null: it was off, or changed nothing"),
      outcome: z.enum(OUTCOMES),
      cause: z.string().nullable().describe("why it ended so; null: in order"),
      blame: z.enum(BLAMES).nullable(),
      closeReason: z.string().nullable().describe("why it ended, in one sentence; null: it is live"),
    })
    .describe("what was decided, and how it ended"),
  facts: z
    .array(z.object({ name: z.string(), value: z.string() }))
    .readonly()
    .describe("what policy saw of the session, as far as the record has it"),
  today: decision
    .extend({ entries: explanation.shape.entries })
    .nullable()
    .describe("what the policy of now decides by these facts; null: they do not suffice to say"),
  differs: z.boolean().describe("true: the policy of now decides otherwise, or by something else"),
  unsure: z.string().nullable().describe("the fact that is missing, by which it may be otherwise, in a sentence"),
});
