import { z } from "zod";
import { duration, isLoopbackHost } from "./formats.ts";

/** `console.oidc` in the configuration file: log-ins by OpenID Connect. */

const file = z.string().min(1);
const values = z.array(z.string().min(1).max(256)).max(100).default([]);

/** Tokens cross no network unencrypted. */
function isSafe(text: string): boolean {
  const url = URL.parse(text);
  if (url?.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") return false;
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return url.protocol === "https:" || (url.protocol === "http:" && isLoopbackHost(host));
}

const NOT_SAFE = "not a URL that begins with https://, or with http:// and a loopback address, and has no query";

export const OIDC = z.strictObject({
  issuer: z
    .string()
    .refine(isSafe, NOT_SAFE)
    .describe(
      "The provider's URL, exactly as it names itself. Its document is below it, at /.well-known/openid-configuration.",
    ),
  clientId: z.string().min(1).max(256).describe("The name of this node at the provider."),
  clientSecretFile: file
    .optional()
    .describe("A file with the secret of this node at the provider. Absent: a public client, which has none."),
  url: z
    .string()
    .refine((text) => isSafe(text) && URL.parse(text)?.pathname === "/", NOT_SAFE)
    .optional()
    .describe(
      "The console's URL as browsers open it, where a proxy in front changes it. Absent: as the browser names it. The provider must allow this URL with /api/v1/login/oidc/callback.",
    ),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, "not a scope"))
    .max(20)
    .default(["profile", "email"])
    .describe("What is asked for beside openid."),
  nameClaim: z
    .string()
    .min(1)
    .max(256)
    .default("preferred_username")
    .describe("The claim that names the user. The audit log has the name with oidc: before it."),
  roles: z
    .strictObject({
      claim: z
        .string()
        .min(1)
        .max(256)
        .default("groups")
        .describe("A claim with a text or a list of texts, by its name, or by a path such as realm_access.roles."),
      viewer: values.describe("The values that make a user a viewer."),
      operator: values.describe("The values that make a user an operator."),
      administrator: values.describe("The values that make a user an administrator."),
    })
    .refine(({ viewer, operator, administrator }) => viewer.length + operator.length + administrator.length > 0, {
      error: "has no value for viewer, operator or administrator: nobody could log in",
    })
    .describe("Who has which role: the highest of those that the claim's values give. Other users cannot log in."),
  longest: duration({ min: "5m", max: "12h" })
    .prefault("12h")
    .describe("How long a log-in lasts at most. It ends after 30 min without a request, too."),
  trust: file
    .optional()
    .describe("A PEM file with the roots of the provider's certificate. Absent: the roots of `trust`, as for servers."),
});
