import { domainToASCII } from "node:url";
import { z } from "zod";
import { compileClient } from "../sessions/client-pattern.ts";

const END = "(INIT|SYN_SENT|SYN_RCV|EST)";

/** Which sessions are asked for; what is left out does not matter. */
export const sessionFilter = z.strictObject({
  host: z
    .string()
    .min(1)
    .max(253)
    .regex(/^[^\s/:]+$|^[0-9a-f:.]+$/i, "is not a host name")
    .transform(toAscii)
    .optional()
    .describe("SNI, CONNECT host or a name of the server's certificate; `*` stands for any characters"),
  state: z
    .string()
    .regex(new RegExp(`^${END}(:${END}){0,3}$`, "i"), "is not a state, like EST:EST:INIT:INIT, nor its beginning")
    .optional()
    .describe("Na:Nb:Ta:Tb, or its first ends"),
  verdict: z.enum(["decrypt", "bypass", "drop", "none"]).optional(),
  listener: z.string().optional(),
  client: z
    .string()
    .max(64)
    .refine((text) => compileClient(text) !== undefined, "is not an address or a subnet, like 10.9.0.4 or 10.0.0.0/8")
    .optional()
    .describe("the client's address, or a subnet: 10.0.0.0/8, 2001:db8::/32"),
});

/** Searches need the form that is on the wire: A-labels. A label with `*` stays as it is written. */
function toAscii(host: string): string {
  const labels = host.split(".").map((label) => (/[^\0-\x7f]/.test(label) && domainToASCII(label)) || label);
  return labels.join(".");
}
