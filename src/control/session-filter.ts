import { domainToASCII } from "node:url";
import { z } from "zod";
import { compileClient } from "../sessions/client-pattern.ts";
import { ACTIONS } from "../vocabulary.ts";

const END = "(INIT|SYN_SENT|SYN_RCV|EST)";

const host = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[^\s/:]+$|^[0-9a-f:.]+$/i, "not a host name")
  .transform(toAscii)
  .optional();

/** Which sessions to find. What is left out may have any value. */
export const sessionFilter = z.strictObject({
  host: host.describe(
    "SNI, CONNECT host or a recorded name of the server's certificate, the first 64; `*` stands for any characters",
  ),
  sni: host.describe("as `host`, but the certificate's names do not count"),
  subject: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe("text in the distinguished name of the server's certificate; `*` stands for any characters"),
  state: z
    .string()
    .regex(new RegExp(`^${END}(:${END}){0,3}$`, "i"), "not a state such as EST:EST:INIT:INIT, nor the beginning of one")
    .optional()
    .describe("Na:Nb:Ta:Tb, or its first ends"),
  verdict: z.enum([...ACTIONS, "none"]).optional(),
  listener: z.string().optional(),
  client: z
    .string()
    .max(64)
    .refine((text) => compileClient(text) !== undefined, "not an address or a subnet such as 10.0.0.0/8")
    .optional()
    .describe("the client's address, or a subnet: 10.0.0.0/8, 2001:db8::/32"),
});

/** Searches need the form that is on the wire: A-labels. A label with `*` stays as it is written. */
function toAscii(host: string): string {
  const labels = host.split(".").map((label) => (/[^\0-\x7f]/.test(label) && domainToASCII(label)) || label);
  return labels.join(".");
}
