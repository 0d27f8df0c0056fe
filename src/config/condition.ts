import { z } from "zod";
import { CONDITIONS, type ConditionName, type ConditionValue } from "../policy/conditions.ts";
import { show } from "./problem.ts";

/** What the JSON Schema says of a key that takes one value or a list. */
export const ONE_OR_MORE = [
  { type: ["string", "number"] },
  { type: "array", items: { type: ["string", "number"] }, minItems: 1 },
];

/** One value or a list of them, read as a list. */
export function conditionValues(name: ConditionName) {
  return z
    .unknown()
    .transform((input, context) => readValues(name, input, context))
    .optional()
    .meta({ description: CONDITIONS[name].description, anyOf: ONE_OR_MORE });
}

export function readValues(name: ConditionName, input: unknown, context: z.RefinementCtx): ConditionValue[] {
  const values: unknown[] = Array.isArray(input) ? input : [input];
  if (values.length === 0)
    context.issues.push({ code: "custom", message: "is an empty list, which matches nothing", input });
  for (const [index, value] of values.entries()) {
    const isValue = typeof value === "string" || typeof value === "number";
    const message = isValue ? CONDITIONS[name].problem(value) : `is ${show(value)}, neither a text nor a number`;
    if (message)
      context.issues.push({ code: "custom", message, input: value, path: Array.isArray(input) ? [index] : [] });
  }
  return values as ConditionValue[];
}
