import { z } from "zod";
import { ONE_OR_MORE, readValues } from "./condition.ts";
import { nameKnownKeys, report } from "./problem.ts";

/** `proxyProtocol` of a listener: connections begin with a header that names the client. */

const from = z
  .unknown()
  .transform((input, context) => readValues("client", input, context).map(String))
  .optional()
  .meta({ description: "The load balancers: addresses, subnets, ranges.", anyOf: ONE_OR_MORE });

const toServer = z
  .boolean()
  .optional()
  .describe("Whether the server gets the header too. Absent: if it understands it.");

const DESCRIPTION =
  "Connections begin with a header of the PROXY protocol, version 1 or 2, and the client's address is the one in it. true: all do; from: those from these addresses, and others have none.";

/** What is read from `true`, or from an object with these keys. Undefined: a header is not expected. */
function setting<Schema extends z.ZodType<{ readonly from?: readonly string[] | undefined }>>(
  object: Schema,
  description: string,
) {
  const anyOf = [{ type: "boolean" }, z.toJSONSchema(object, { io: "input" })];
  return (
    z
      .unknown()
      // Not a union: its errors would not say which key is wrong.
      .transform((input, context): z.output<Schema> | undefined => {
        if (input === undefined || input === false) return undefined;
        if (input !== true && (typeof input !== "object" || input === null)) {
          report(context, [], "neither true, false nor { from: [addresses] }");
          return undefined;
        }
        const { data, error } = object.safeParse(input === true ? {} : input, { error: nameKnownKeys });
        for (const issue of error?.issues ?? []) {
          context.issues.push({ ...issue, input } as (typeof context.issues)[number]);
        }
        return data;
      })
      .optional()
      .meta({ description, anyOf })
  );
}

export function proxyProtocol() {
  return setting(z.strictObject({ from }), DESCRIPTION);
}

export function proxyProtocolToServer() {
  const description = `${DESCRIPTION} toServer: whether the server gets the header too; absent: if it understands it.`;
  return setting(z.strictObject({ from, toServer }), description);
}
