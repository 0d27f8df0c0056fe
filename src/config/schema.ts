import { z } from "zod";
import { isAddressEntry } from "../policy/address-set.ts";
import { CONDITION_NAMES, CONDITIONS, type ConditionName, type ConditionValue } from "../policy/conditions.ts";
import { readHostEntry } from "../policy/host-set.ts";
import { VERSIONS, type Version } from "../vocabulary.ts";
import { FEED } from "./feed.ts";
import { address, duration, hostPort, interfaceName, label, subnetAddress } from "./formats.ts";
import { show } from "./problem.ts";
import { RESUMPTION } from "./resumption.ts";
import { TOOL } from "./tool.ts";

/** Every key of the configuration file, with its default and what it means: the types, the checks and the JSON Schema come from here. */

const action = z.enum(["decrypt", "bypass", "drop"]);
const refusal = z.enum(["bypass", "drop"]);
const version = z.enum(Object.keys(VERSIONS) as [Version, ...Version[]]);
const file = z.string().min(1);

const ONE_OR_MORE = [
  { type: ["string", "number"] },
  { type: "array", items: { type: ["string", "number"] }, minItems: 1 },
];

/** One value or a list of them, always used as a list. */
function conditionValues(name: ConditionName) {
  return z
    .unknown()
    .transform((input, context) => readValues(name, input, context))
    .optional()
    .meta({ description: CONDITIONS[name].description, anyOf: ONE_OR_MORE });
}

function readValues(name: ConditionName, input: unknown, context: z.RefinementCtx): ConditionValue[] {
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

const onMissingKey = refusal
  .optional()
  .describe("Inbound: what becomes of a session with a server whose key the node does not hold. Absent: re-signed.");

const listener = z.discriminatedUnion("mode", [
  z.strictObject({
    name: label().describe("Names the listener in sessions, metrics and rules."),
    mode: z.literal("explicit").describe("An HTTP proxy: CONNECT, and plain HTTP in absolute form."),
    address: hostPort().describe("Where it listens."),
    onMissingKey,
  }),
  z.strictObject({
    name: label().describe("Names the listener in sessions, metrics and rules."),
    mode: z.literal("forward").describe("Every connection goes to one server."),
    address: hostPort().describe("Where it listens."),
    server: hostPort().describe("Where its connections go."),
    onMissingKey,
  }),
  z.strictObject({
    name: label().describe("Names the listener in sessions, metrics and rules."),
    mode: z.literal("inline").describe("In the path between two interfaces; needs CAP_NET_ADMIN."),
    topology: z.enum(["routed", "bridge"]).describe("A router between two networks, or a bump in one wire."),
    networkA: interfaceName().describe("The interface that faces the clients."),
    networkB: interfaceName().describe("The interface that faces the servers."),
    address: z
      .union([subnetAddress(), z.array(subnetAddress()).min(1)])
      .optional()
      .describe("Bridge: the node's own address on it, such as 10.3.0.254/24; a list for IPv4 and IPv6."),
    gateway: z
      .union([address(), z.array(address()).min(1)])
      .optional()
      .describe("Bridge: the router to whatever no route leads to; a list for IPv4 and IPv6. None: it is unreachable."),
    routes: z
      .array(
        z.strictObject({
          to: subnetAddress().describe("Clients or servers in another network, such as 10.9.0.0/16."),
          via: address().describe("The router on the bridge's network that leads there."),
        }),
      )
      .default([])
      .describe(
        "Bridge: the way to the networks behind other routers than the gateway. This machine's own routes are not used.",
      ),
    ports: z
      .unknown()
      .transform((input, context) => (input === "all" ? "all" : readValues("port", input, context)))
      .prefault("all")
      .meta({
        description: "The server ports that are looked at: all, or numbers and ranges. The kernel forwards the others.",
        anyOf: ONE_OR_MORE,
      }),
    synHold: z.boolean().default(true).describe("Connect to the server before the client's SYN is answered."),
    failure: z.enum(["open", "closed"]).default("open").describe("What the kernel does when no worker listens."),
    stop: z
      .enum(["remove", "keep"])
      .default("remove")
      .describe(
        "What an orderly stop does with bridge, routes and rules: removes them, or keeps them, and `failure` says what becomes of new connections. The same for all inline listeners.",
      ),
    blockQuic: z.boolean().default(false).describe("Refuse UDP 443, so that browsers leave QUIC for TLS over TCP."),
    onMissingKey,
  }),
]);

const match = z.strictObject(
  Object.fromEntries(CONDITION_NAMES.map((name) => [name, conditionValues(name)])) as {
    [Name in ConditionName]: ReturnType<typeof conditionValues>;
  },
);

const rule = z.strictObject({
  name: z.string().trim().min(1).max(120).describe("Names the rule where a verdict is explained."),
  match: match.prefault({}).describe("All conditions must hold; of one condition's values, any. None at all: always."),
  action: action.describe("What becomes of a session that matches."),
  tools: z
    .array(label())
    .optional()
    .describe("The tools that its sessions go through, in order; []: none. Absent: all that take this class of flow."),
  alpn: z
    .enum(["http/1.1"])
    .optional()
    .describe("Keeps HTTP/2 out of its sessions, for tools that know only HTTP/1.1. Not for rules on certificates."),
});

const MAX_START_TLS_PORTS = 20;

const startTls = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .describe("Decrypt what begins in plaintext: STARTTLS on these ports, and CONNECT to a proxy on any."),
  ports: z
    .array(z.int().min(1).max(65_535))
    .superRefine((ports, context) => {
      if (ports.length <= MAX_START_TLS_PORTS) return;
      const message = `is ${ports[MAX_START_TLS_PORTS]}, one more than the ${MAX_START_TLS_PORTS} ports that can be watched`;
      context.addIssue({ code: "custom", message, path: [MAX_START_TLS_PORTS] });
    })
    .default([25, 110, 143, 587])
    .meta({
      description: "The servers' ports that are watched for STARTTLS, 20 at most.",
      maxItems: MAX_START_TLS_PORTS,
    }),
});

const strictness = z.enum(["off", "soft", "hard"]);

const revocation = z
  .strictObject({
    ocsp: strictness
      .default("soft")
      .describe("Believe the answer that the server staples, else ask the issuer's responder."),
    crl: strictness.default("off").describe("Look into the issuer's revocation list, when OCSP gave no answer."),
    timeout: duration({ min: "100ms", max: "1m" })
      .prefault("5s")
      .describe("The longest that a session waits for it all."),
    keep: duration({ min: "1s", max: "7d" })
      .prefault("1h")
      .describe("For how long an answer or a list is used, though never beyond its own end."),
    loopback: z.boolean().default(false).describe("Also ask responders on this machine's loopback addresses."),
  })
  .describe("Asking whether a server's certificate was revoked. soft: no answer is recorded; hard: it is a fault.");

const policy = z.strictObject({
  default: action.default("decrypt").describe("The verdict when nothing else decides."),
  versions: z
    .strictObject({
      min: version.default("TLSv1.2").describe("The oldest version that is decrypted."),
      max: version.default("TLSv1.3").describe("The newest version that is decrypted."),
      belowMin: refusal.default("bypass").describe("What becomes of a peer that speaks older versions only."),
      aboveMax: refusal.default("bypass").describe("What becomes of a peer that speaks newer versions only."),
      ssl3Suites: z
        .enum(["all", "rc4"])
        .default("all")
        .describe("With min SSLv3, its cipher suites: all, or RC4 alone, which POODLE does not break."),
    })
    .prefault({}),
  lists: z
    .strictObject({
      bypass: z
        .array(file)
        .default([])
        .describe("Files of addresses, subnets, ranges and hosts that are never decrypted."),
      decrypt: z.array(file).default([]).describe("Files of addresses, subnets, ranges and hosts that are decrypted."),
    })
    .prefault({}),
  rules: z.array(rule).default([]).describe("Judged in the order that `clearline explain` shows."),
  certificate: z
    .strictObject({
      expired: action.default("drop").describe("The server's certificate is expired, or not yet valid."),
      selfSigned: action.default("drop").describe("It is signed by itself."),
      unknownIssuer: action.default("drop").describe("It does not reach a root that is trusted."),
      hostMismatch: action.default("drop").describe("It is for other hosts."),
      invalid: action.default("drop").describe("Anything else is wrong with it."),
      revoked: action.default("drop").describe("Its issuer has revoked it, or a certificate above it."),
      revocationUnknown: action
        .default("drop")
        .describe("Whether it was revoked cannot be known, and `policy.revocation` says hard."),
    })
    .prefault({}),
  revocation: revocation.prefault({}),
  clientCertificate: z
    .strictObject({
      action: refusal
        .default("bypass")
        .describe("What becomes of sessions with a server that demands a client certificate."),
      for: duration({ min: "1s", max: "30d" }).prefault("1h").describe("For how long such a server is remembered."),
    })
    .prefault({}),
  startTls: startTls.prefault({}),
});

const authority = z.strictObject({
  certificate: file.describe("PEM: the CA's certificate, then the chain to its root."),
  key: file.describe("PEM: the CA's private key."),
  passphraseFile: file.optional().describe("Its first line is the passphrase that the key is encrypted under."),
});

const signing = z.strictObject({
  primary: authority
    .optional()
    .describe("Signs for servers whose certificate is valid. Made on first start when absent."),
  secondary: authority
    .optional()
    .describe("Signs for the others; clients must not trust it. Made on first start when absent."),
  validity: duration({ min: "1h", max: "3650d" })
    .prefault("397d")
    .describe("The longest that an issued certificate is valid."),
});

const inboundKey = z.strictObject({
  hosts: z
    .array(
      z.string().refine((host) => readHostEntry(host) || (isAddressEntry(host) && !/[-/]/.test(host)), {
        error: 'not a host name, "*." and a host name, or an address',
      }),
    )
    .min(1)
    .optional()
    .describe("The host names, wildcards and addresses of the server. Absent: those that its certificate names."),
  certificate: file.optional().describe("PEM: the server's certificate, then its chain."),
  key: file.optional().describe("PEM: the server's private key."),
  pkcs12: file.optional().describe("Instead of certificate and key: one PKCS#12 file (.p12, .pfx) with both."),
  passphraseFile: file.optional().describe("Its first line is the passphrase that the key is encrypted under."),
});

const storeSecret = {
  passphraseFile: file.optional().describe("Its first line is a passphrase of 12 characters or more."),
  keyFile: file.optional().describe("Instead: a file of 32 random bytes or more."),
};

const keyStore = z.strictObject({
  ...storeSecret,
  former: z
    .strictObject(storeSecret)
    .optional()
    .describe("What the keys were encrypted under until now; with it they are read once more, and written anew."),
  warnBefore: duration({ min: "1h", max: "3650d" })
    .prefault("30d")
    .describe("For how long before its end an inbound key's certificate is warned of, once a day."),
});

// A timer longer than 2^31 - 1 ms (24.8 days) fires at once.
const timeout = (standard: string) => duration({ min: "1ms", max: "24d" }).prefault(standard);

export const CONFIG = z.strictObject({
  dataDir: file
    .optional()
    .describe("CAs, keys, history, token. Default ~/.local/state/clearline; /var/lib/clearline for root."),
  workers: z
    .union([z.literal("auto"), z.int().min(1).max(64)], { error: 'neither "auto" nor a number between 1 and 64' })
    .default("auto")
    .describe("Processes that carry sessions; auto: one per core."),
  console: z
    .strictObject({ address: hostPort().prefault("127.0.0.1:8484").describe("Where the API and the console listen.") })
    .prefault({}),
  trust: z
    .strictObject({
      system: z.boolean().default(true).describe("Trust the system's roots."),
      files: z.array(file).default([]).describe("PEM files of more roots."),
    })
    .prefault({})
    .describe("The roots that server certificates must reach."),
  listeners: z.array(listener).min(1).describe("Where sessions come from."),
  policy: policy.prefault({}),
  signing: signing.prefault({}).describe("The CAs that sign what clients are shown."),
  keys: z.array(inboundKey).default([]).describe("Inbound: the servers whose certificate and key this node holds."),
  keyStore: keyStore
    .prefault({})
    .describe("Under what private keys in dataDir are encrypted: CAs' and added ones. Absent: under nothing."),
  tools: z.array(TOOL).default([]).describe("Inline tools: what the plaintext goes through, in order."),
  feeds: z.array(FEED).default([]).describe("Where copies of what passes go."),
  resumption: RESUMPTION.prefault({}).describe("Peers that return are spared the full handshake."),
  timeouts: z
    .strictObject({
      connect: timeout("10s").describe("To reach a server."),
      hello: timeout("30s").describe("Between two bytes of an unfinished ClientHello or request."),
      handshake: timeout("15s").describe("For a whole TLS handshake on one leg."),
      idle: timeout("10m").describe("Without a byte in either direction."),
      drain: timeout("10s").describe("For live sessions to end when the node stops."),
    })
    .prefault({}),
  limits: z
    .strictObject({
      sessions: z.int().min(1).max(10_000_000).default(20_000).describe("Sessions of the whole node at one time."),
    })
    .prefault({}),
  history: z
    .strictObject({
      keep: duration({ min: "1m", max: "3650d" }).prefault("30d").describe("For how long closed sessions are kept."),
      sessions: z.int().min(0).max(100_000_000).default(100_000).describe("How many closed sessions are kept."),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z
        .enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"])
        .default("info")
        .describe("The least that is told."),
    })
    .prefault({})
    .describe("What the node writes to its standard error."),
});

/** The file as it is written, with defaults filled in, durations in ms and sizes in bytes. */
export type WrittenConfig = z.output<typeof CONFIG>;

/** The same with every file name absolute. */
export type Config = Omit<WrittenConfig, "dataDir"> & { readonly dataDir: string };

/** The configuration file's JSON Schema, for editors and the manual. */
export function configSchemaJson(): object {
  return z.toJSONSchema(CONFIG, { io: "input" });
}
