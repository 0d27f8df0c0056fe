import { z } from "zod";
import { LARGEST_TEMPLATE, PLACES } from "../page/template.ts";
import { bypassOfRule } from "../policy/bypass.ts";
import { CONDITION_NAMES, CONDITIONS, type ConditionName } from "../policy/conditions.ts";
import { ACTIONS, FAULT_TEXTS, FAULTS, type Fault, VERSIONS, type Version } from "../vocabulary.ts";
import { conditionValues, ONE_OR_MORE, readValues } from "./condition.ts";
import { duration, label } from "./formats.ts";
import { report, show } from "./problem.ts";

/** `policy` in the configuration file: what happens to a session, and why. */

const action = z.enum(ACTIONS);
const refusal = z.enum(["bypass", "drop"]);
const version = z.enum(Object.keys(VERSIONS) as [Version, ...Version[]]);
const notTls = z.enum(["pass", "drop"]);
const listFile = z.string().min(1);

/** The names that explanations and records show instead of a rule's name when no rule decided. */
export const BUILT_IN_NAMES: readonly string[] = [
  "bypass list",
  "decrypt list",
  "versions",
  "second hello",
  "client certificate",
  "channel binding",
  "missing key",
  "acme-tls/1",
  "certificate fault",
  "startTls",
  "monitor",
  "verifyBypass",
  "reach",
  "notTls",
  "undecryptable",
  "default",
];

const versions = z
  .strictObject({
    min: version.default("TLSv1.2").describe("The oldest version that is decrypted."),
    max: version.default("TLSv1.3").describe("The newest version that is decrypted."),
    belowMin: refusal.default("bypass").describe("What to do with a peer that speaks only older versions."),
    aboveMax: refusal.default("bypass").describe("What to do with a peer that speaks only newer versions."),
    weakTls12: z
      .boolean()
      .default(false)
      .describe(
        "In TLS 1.2, accept servers with a Diffie-Hellman group below 2,048 bits or a signature below SHA-256 if the client offers nothing better.",
      ),
    ssl3Suites: z
      .enum(["all", "rc4"])
      .default("all")
      .describe("The cipher suites of SSL 3.0, when min is SSLv3: all, or RC4 alone, which POODLE does not break."),
  })
  .superRefine(({ min, max }, context) => {
    if (VERSIONS[min] > VERSIONS[max])
      report(context, ["min"], `is ${min}, above policy.versions.max, which is ${max}`);
  });

const match = z.strictObject(
  Object.fromEntries(CONDITION_NAMES.map((name) => [name, conditionValues(name)])) as {
    [Name in ConditionName]: ReturnType<typeof conditionValues>;
  },
);

/** What a rule, or a port, says of sessions that the node cannot treat. */
const untreated = {
  notTls: notTls.optional().describe("What to do with its sessions that are not TLS, instead of policy.notTls."),
  undecryptable: refusal
    .optional()
    .describe("What to do with its TLS that cannot be decrypted, instead of policy.undecryptable."),
};

const portException = z.strictObject({
  ports: z
    .unknown()
    .transform((input, context) => readValues("port", input, context))
    .meta({ description: "The servers' ports: numbers and ranges such as 8000-9000.", anyOf: ONE_OR_MORE }),
  ...untreated,
});

export const RULE = z.strictObject({
  name: z
    .string()
    .trim()
    .min(1)
    .max(120)
    .superRefine((name, context) => {
      if (BUILT_IN_NAMES.includes(name) || bypassOfRule(name) !== undefined)
        report(context, [], `is ${show(name)}, a name that Clearline uses itself; choose another`);
    })
    .describe("The rule's name in explanations and records of verdicts."),
  match: match
    .prefault({})
    .describe(
      "All conditions must hold; of the values of one condition, any. A rule without conditions always matches.",
    ),
  action: action.describe("What to do with a session that matches."),
  tools: z
    .array(label())
    .optional()
    .describe(
      "The tools that its sessions go through, in order; []: none. Absent: all tools that take this class of flow.",
    ),
  alpn: z
    .enum(["http/1.1"])
    .optional()
    .describe(
      "Do not negotiate HTTP/2 in its sessions, for tools that know only HTTP/1.1. Not for rules on certificates.",
    ),
  ...untreated,
});

export type RuleConfig = z.output<typeof RULE>;

/** The rule's first condition that is judged in the certificate phase. Undefined: it has none. */
export function certificateCondition(conditions: RuleConfig["match"]): ConditionName | undefined {
  return CONDITION_NAMES.find((name) => CONDITIONS[name].phase === "certificate" && conditions[name] !== undefined);
}

const MAX_START_TLS_PORTS = 20;

const startTls = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe("Decrypt sessions that begin in plaintext: STARTTLS on these ports, and CONNECT to a proxy on any port."),
  ports: z
    .array(z.int().min(1).max(65_535))
    .superRefine((ports, context) => {
      if (ports.length <= MAX_START_TLS_PORTS) return;
      const says = `is one too many: at most ${MAX_START_TLS_PORTS} ports can be watched`;
      report(context, [MAX_START_TLS_PORTS], says);
    })
    .default([25, 110, 143, 587])
    .meta({
      description: `The server ports that are watched for STARTTLS, ${MAX_START_TLS_PORTS} at most.`,
      maxItems: MAX_START_TLS_PORTS,
    }),
});

const strictness = z.enum(["off", "soft", "hard"]);

const revocation = z
  .strictObject({
    ocsp: strictness
      .default("soft")
      .describe("Use the OCSP response that the server staples, otherwise ask the issuer's responder."),
    crl: strictness.default("off").describe("Read the issuer's CRL when OCSP gave no answer."),
    timeout: duration({ min: "100ms", max: "1m" })
      .prefault("5s")
      .describe("The longest time that a session waits for all revocation checks."),
    keep: duration({ min: "1s", max: "7d" })
      .prefault("1h")
      .describe("How long a response or a CRL is used, but never beyond its own nextUpdate."),
    loopback: z.boolean().default(false).describe("Also ask responders at this machine's loopback addresses."),
  })
  .describe(
    "Whether a server's certificate is revoked. Without an answer, soft only records that, and hard makes it the fault `revocationUnknown`.",
  );

const certificate = z.strictObject(
  Object.fromEntries(
    FAULTS.map((fault) => [
      fault,
      action.default("drop").describe(`The action when the server's certificate is ${FAULT_TEXTS[fault]}.`),
    ]),
  ) as Record<Fault, z.ZodDefault<typeof action>>,
);

const page = z
  .strictObject({
    signedBy: z
      .enum(["primary", "secondary"])
      .default("secondary")
      .describe(
        "The CA that signs for the page. secondary: the browser warns first, and the visitor has to go on. primary: clients that trust the node see the page at once, under a certificate for the host that they asked for.",
      ),
    template: z
      .string()
      .min(1)
      .optional()
      .describe(
        `A file of HTML of your own, at most ${LARGEST_TEMPLATE / 1024} KiB. Its placeholders are ${PLACES.map((name) => `{{${name}}}`).join(", ")}; {{reason}} and {{session}} must be there. Absent: a plain page.`,
      ),
    wait: duration({ min: "100ms", max: "1m" })
      .prefault("10s")
      .describe("How long a client inside TLS has for its request."),
    remedies: z
      .boolean()
      .default(false)
      .describe("Also say which option or command lets the session pass: for people who run the node themselves."),
  })
  .optional()
  .describe(
    "Clients that speak HTTP and are refused get a page with the reason, the rule and the session's ID, instead of an alert or a reset; those that ask for no HTML get the same as text. Absent: no page, except for npm start.",
  );

export const POLICY = z.strictObject({
  default: action.default("decrypt").describe("The verdict when nothing else decides."),
  monitor: z
    .boolean()
    .default(false)
    .describe(
      "Decide and record everything, and decrypt and drop nothing: `clearline report` says what would have been.",
    ),
  verifyBypass: z
    .boolean()
    .default(false)
    .describe(
      "Bypass by a list or rule for hosts only if the server holds a trusted certificate for the host that the client names; otherwise drop. Judged in the passing certificate up to TLS 1.2, else by a handshake of the node's own.",
    ),
  notTls: notTls
    .default("pass")
    .describe("What to do with sessions that are not TLS: pass them unchanged, or drop them."),
  undecryptable: refusal
    .default("bypass")
    .describe(
      "What to do with TLS that would be decrypted and cannot be: by what the client offers, or because it was seen too late.",
    ),
  ports: z
    .array(portException)
    .default([])
    .describe(
      "Other actions for what is not TLS, or cannot be decrypted, by the server's port. The first that names it counts.",
    ),
  versions: versions.prefault({}),
  lists: z
    .strictObject({
      bypass: z
        .array(listFile)
        .default([])
        .describe("Files of addresses, subnets, ranges and hosts that are never decrypted."),
      decrypt: z
        .array(listFile)
        .default([])
        .describe("Files of addresses, subnets, ranges and hosts that are decrypted."),
    })
    .prefault({}),
  rules: z.array(RULE).default([]).describe("Evaluated in the order that `clearline explain` shows."),
  certificate: certificate.prefault({}),
  revocation: revocation.prefault({}),
  clientCertificate: z
    .strictObject({
      action: refusal
        .default("bypass")
        .describe("What to do with sessions to a server that demands a client certificate."),
      optional: z
        .enum(["bypass", "decrypt"])
        .default("bypass")
        .describe(
          "What to do with later sessions to a server that asks for a client certificate and goes on without one. With action: drop they are decrypted.",
        ),
      for: duration({ min: "1s", max: "30d" }).prefault("1h").describe("How long the node remembers such a server."),
    })
    .prefault({}),
  channelBinding: z
    .strictObject({
      action: z
        .enum(["bypass", "tell"])
        .default("tell")
        .describe(
          "What to do with later sessions to a server at which a client has bound its log-in to the TLS channel (SASL's mechanisms -PLUS). tell: they stay decrypted, and the log and the record say why they fail. bypass: a program on one client can bring it about for all clients of a host. Hosts on the decrypt list are never bypassed for this.",
        ),
      for: duration({ min: "1s", max: "30d" }).prefault("1h").describe("How long the node remembers such a server."),
    })
    .prefault({}),
  learn: z
    .strictObject({
      action: z
        .literal("bypass")
        .default("bypass")
        .describe("What to do with the next sessions of this client with this host."),
      after: z.int().min(2).max(100).default(3).describe("After so many refusals without a session that worked."),
      for: duration({ min: "1m", max: "30d" }).prefault("12h").describe("For how long."),
    })
    .optional()
    .describe(
      "Learns which clients refuse the certificates that the node presents for a host: they may pin the server's own. Never for hosts on the decrypt list. Absent: `clearline suggestions` shows them, and nothing is learnt.",
    ),
  startTls: startTls.prefault({}),
  page,
});
