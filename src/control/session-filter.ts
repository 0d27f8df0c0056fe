import { domainToASCII } from "node:url";
import { z } from "zod";

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
  client: z.string().max(64).optional().describe("the client's address"),
});

/** Searches need the form that is on the wire: A-labels. A label with `*` stays as it is written. */
function toAscii(host: string): string {
  const labels = host.split(".").map((label) => (/[^\0-\x7f]/.test(label) && domainToASCII(label)) || label);
  return labels.join(".");
}
