import { isIP } from "node:net";
import { z } from "zod";
import { isAddressEntry } from "../policy/address-set.ts";
import { readHostEntry } from "../policy/host-set.ts";
import { FAULTS } from "../vocabulary.ts";
import { FEED } from "./feed.ts";
import { duration, hostPort, size } from "./formats.ts";
import { LISTENER } from "./listener.ts";
import { LOG, WEBHOOKS } from "./log-section.ts";
import { OIDC } from "./oidc.ts";
import { OVERLOAD } from "./overload-section.ts";
import { POLICY } from "./policy-section.ts";
import { report } from "./problem.ts";
import { RESUMPTION } from "./resumption.ts";
import { TOOL } from "./tool.ts";

/** Every key of the configuration file, with its default and meaning. The types, the checks and the JSON Schema are made from it. */

const file = z.string().min(1);

const authority = z.strictObject({
  certificate: file.describe("PEM: the CA's certificate, then the chain to its root."),
  key: file.describe("PEM: the CA's private key."),
  passphraseFile: file.optional().describe("A file whose first line is the passphrase of the encrypted key."),
});

const CONSOLE_TLS = z.strictObject({
  certificate: file.optional().describe("PEM: the certificate, then its chain. Absent: the primary CA signs one."),
  key: file.optional().describe("PEM: its private key."),
  passphraseFile: file.optional().describe("A file whose first line is the passphrase of the encrypted key."),
  names: z
    .array(
      z.string().refine((name) => isIP(name) !== 0 || (readHostEntry(name) && !name.startsWith("*")), {
        error: "neither a host name nor an address",
      }),
    )
    .min(1)
    .max(100)
    .optional()
    .describe(
      "The names and addresses in the certificate that the primary CA signs. Absent: `address`, this machine's name, and loopback.",
    ),
});

const signing = z.strictObject({
  primary: authority
    .optional()
    .describe("Signs for servers with a valid certificate. Absent: the node makes one on its first start."),
  secondary: authority
    .optional()
    .describe("Signs for all other servers; clients must not trust it. Absent: the node makes one on its first start."),
  validity: duration({ min: "1h", max: "3650d" })
    .prefault("397d")
    .describe("The longest validity of an issued certificate."),
  downloadHost: z
    .string()
    .refine((host) => host === "off" || readHostEntry(host)?.subdomains === false, { error: "not a host name" })
    .transform((host) => readHostEntry(host)?.host ?? host)
    .default("ca.clearline.internal")
    .describe(
      "The host name at which explicit proxies show the page with the primary CA's certificates, over plain HTTP: http://ca.clearline.internal/. off: none. GET /ca on console.address always has it.",
    ),
  status: z
    .strictObject({
      address: hostPort().describe("Where the OCSP responder and the revocation lists listen."),
      url: z
        .url({ protocol: /^http$/, error: "not an http URL" })
        .transform((url) => url.replace(/\/$/, ""))
        .describe("How clients reach that address: http://node.example:8085. Named in issued certificates."),
    })
    .optional()
    .describe("An OCSP responder and revocation lists for issued certificates, over plain HTTP. Absent: none."),
});

const inboundKey = z
  .strictObject({
    hosts: z
      .array(
        z.string().refine((host) => readHostEntry(host) || (isAddressEntry(host) && !/[-/]/.test(host)), {
          error: 'not a host name, "*." and a host name, or an address',
        }),
      )
      .min(1)
      .optional()
      .describe("The host names, wildcards and addresses of the server. Absent: those in its certificate."),
    certificate: file.optional().describe("PEM: the server's certificate, then its chain."),
    key: file.optional().describe("PEM: the server's private key."),
    pkcs12: file.optional().describe("Instead of certificate and key: a PKCS#12 file (.p12, .pfx) with both."),
    passphraseFile: file.optional().describe("A file whose first line is the passphrase of the encrypted key."),
    acceptFaults: z
      .array(z.enum(FAULTS))
      .optional()
      .describe(
        "Show clients this certificate although the server's own has these faults and policy decrypts it. Absent: the server must have this private key, or a certificate without faults.",
      ),
  })
  .superRefine((key, context) => {
    for (const name of ["certificate", "key"] as const) {
      const isGiven = key[name] !== undefined;
      if (isGiven && key.pkcs12 !== undefined)
        report(context, [name], "cannot be used with pkcs12, which holds both the certificate and the key");
      if (!isGiven && key.pkcs12 === undefined) report(context, [name], "is missing");
    }
  });

const storeSecret = {
  passphraseFile: file.optional().describe("A file whose first line is a passphrase of 12 characters or more."),
  keyFile: file.optional().describe("Instead of passphraseFile: a file of 32 random bytes or more."),
};

const keyStore = z
  .strictObject({
    ...storeSecret,
    former: z
      .strictObject(storeSecret)
      .superRefine(oneSecret)
      .optional()
      .describe("The previous secret. Keys that are still encrypted under it are encrypted again under the new one."),
    warnBefore: duration({ min: "1h", max: "3650d" })
      .prefault("30d")
      .describe("Warn once a day when an inbound key's certificate expires within this time."),
  })
  .superRefine(oneSecret);

function oneSecret(
  secrets: { passphraseFile?: string | undefined; keyFile?: string | undefined },
  context: z.RefinementCtx,
) {
  if (secrets.passphraseFile !== undefined && secrets.keyFile !== undefined)
    report(context, ["keyFile"], "cannot be used with passphraseFile; remove one of them");
}

// A timer longer than 2^31 - 1 ms (24.8 days) fires at once.
const timeout = (standard: string) => duration({ min: "1ms", max: "24d" }).prefault(standard);

const count = z.int().min(1).max(10_000_000);
/** More handshakes than an office behind one address has under way at a time. */
const HANDSHAKES = 512;
const perClientLimits = z.strictObject({
  sessions: count.optional().describe("The most sessions of one client."),
  halfOpen: count
    .optional()
    .describe(
      "The most sessions of one client that have not shown their protocol yet. Above it, the oldest of them ends.",
    ),
  handshakes: count
    .default(HANDSHAKES)
    .describe(
      "The most TLS handshakes of one client that are under way. Above it, they wait for one of the client's own to end.",
    ),
});

const PER_CLIENT = z
  .union([count.transform((sessions) => ({ sessions, halfOpen: sessions, handshakes: HANDSHAKES })), perClientLimits], {
    error: "neither a number from 1 to 10000000 nor { sessions, halfOpen }",
  })
  .prefault({})
  .meta({
    description:
      "The most sessions of one client at one time, in all workers together, which share it evenly with at least one each: a number, or sessions and halfOpen. A client is an IPv4 address or a /64 of IPv6. Absent: a client may have all of limits.sessions, until another one needs room.",
  });

export const CONFIG = z.strictObject({
  dataDir: file
    .optional()
    .describe(
      "The folder for CAs, keys, history and the API's token. Default ~/.local/state/clearline, for root /var/lib/clearline.",
    ),
  workers: z
    .union([z.literal("auto"), z.int().min(1).max(64)], { error: 'neither "auto" nor a number between 1 and 64' })
    .default("auto")
    .describe("The number of processes that carry sessions. auto: one per core."),
  workerUser: z
    .union([z.string().min(1), z.int().min(0).max(4_294_967_294)], { error: "neither a user's name nor its number" })
    .optional()
    .describe(
      "The user that workers become, by name or number, so that they cannot reach the CA keys. Needs root or CAP_SETUID, CAP_SETGID, CAP_CHOWN and CAP_KILL. Default: with these clearline-worker, and without such a user the number 65530. The node's own user: they stay it.",
    ),
  console: z
    .strictObject({
      address: hostPort().prefault("127.0.0.1:8484").describe("Where the API and the web console listen."),
      tls: CONSOLE_TLS.optional().describe("Serve HTTPS. `{}`: with a certificate that the primary CA signs."),
      plainHttp: z
        .boolean()
        .default(false)
        .describe("Serve plain HTTP although the address is not loopback, as behind a proxy that speaks TLS."),
      oidc: OIDC.optional().describe("Browsers may log in by OpenID Connect, too."),
    })
    .prefault({}),
  trust: z
    .strictObject({
      system: z.boolean().default(true).describe("Trust the root certificates of the system."),
      files: z
        .array(file)
        .default([])
        .describe("PEM files with more trusted certificates: roots, intermediates or servers' own."),
      fetchIntermediates: z
        .boolean()
        .default(false)
        .describe(
          "Fetch intermediates that a server does not send from the URL in the certificate (AIA), over plain HTTP.",
        ),
    })
    .prefault({})
    .describe("The certificates that server certificates must reach."),
  listeners: z.array(LISTENER).min(1).describe("Where sessions come from."),
  policy: POLICY.prefault({}),
  signing: signing.prefault({}).describe("The CAs that sign the certificates for clients."),
  keys: z
    .array(inboundKey)
    .default([])
    .describe("Inbound: the servers whose certificates and private keys this node holds."),
  keyStore: keyStore
    .prefault({})
    .describe(
      "The secret that encrypts the private keys in dataDir: those of the CAs and those added at run time. Absent: they are not encrypted.",
    ),
  tools: z.array(TOOL).default([]).describe("The inline tools that sessions go through, in this order."),
  feeds: z.array(FEED).default([]).describe("Where copies of the sessions go."),
  resumption: RESUMPTION.prefault({}).describe("Session resumption, which saves returning peers the full handshake."),
  timeouts: z
    .strictObject({
      connect: timeout("10s").describe("To connect to a server."),
      hello: timeout("30s").describe(
        "Between two bytes of an incomplete ClientHello, request or PROXY header. Twice this time after its first byte it must be whole.",
      ),
      handshake: timeout("15s").describe("For a complete TLS handshake on one leg."),
      idle: timeout("10m").describe("For a session without a byte in either direction."),
      idleCounts: z
        .enum(["keepalives", "bytes"])
        .default("keepalives")
        .describe(
          "What ends `idle`: bytes alone, or also TCP keepalives of one side that the other has answered, as those of IMAP IDLE, push and SSH.",
        ),
      drain: timeout("10s").describe("For live sessions to end after the node is told to stop."),
    })
    .prefault({}),
  limits: z
    .strictObject({
      sessions: z
        .int()
        .min(1)
        .max(10_000_000)
        .default(20_000)
        .describe("The most sessions at one time, in all workers together."),
      perClient: PER_CLIENT,
      requestHead: size({ min: "1KiB", max: "64KiB" })
        .prefault("64KiB")
        .describe("The longest head of a plain HTTP request."),
      requestTarget: size({ min: "1KiB", max: "64KiB" })
        .prefault("32KiB")
        .describe("The longest address in a plain HTTP request."),
      dhBits: z
        .int()
        .min(2048)
        .max(10_000)
        .default(4096)
        .describe(
          "The largest group of Diffie-Hellman over integers that the node computes with, in bits: a handshake with 10,000 bits takes 0.3 s of a core.",
        ),
      cores: z
        .boolean()
        .default(false)
        .describe("Let the processes write core files when they crash. Keys and plaintext are in them."),
    })
    .prefault({}),
  overload: OVERLOAD.prefault({}).describe(
    "When the node is overloaded. At a threshold no new session is decrypted; once the measure has fallen to the middle between it and its two thirds, half of them are; at two thirds all. Live sessions go on.",
  ),
  history: z
    .strictObject({
      keep: duration({ min: "1m", max: "3650d" }).prefault("30d").describe("How long closed sessions are kept."),
      sessions: z.int().min(0).max(100_000_000).default(100_000).describe("How many closed sessions are kept."),
    })
    .prefault({}),
  audit: z
    .strictObject({
      keep: duration({ min: "1d", max: "3650d" }).prefault("365d").describe("How long entries are kept."),
      entries: z.int().min(1000).max(10_000_000).default(100_000).describe("How many entries are kept."),
    })
    .prefault({})
    .describe("The audit log: who changed something or looked at plaintext."),
  log: LOG.prefault({}).describe("The log of the node's own doings; sessions are in the history."),
  webhooks: WEBHOOKS.describe("Programs that are told of events by HTTP."),
});

/** The file's content with defaults filled in, durations in ms and sizes in bytes. */
export type WrittenConfig = z.output<typeof CONFIG>;

/** The same with every file name absolute. */
export type Config = Omit<WrittenConfig, "dataDir"> & { readonly dataDir: string };

/** The configuration file's JSON Schema, for editors and the manual. */
export function configSchemaJson(): object {
  return z.toJSONSchema(CONFIG, { io: "input" });
}
