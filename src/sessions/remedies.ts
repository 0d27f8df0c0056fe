import type { Outcome } from "../vocabulary.ts";
import type { Cause } from "./causes.ts";

/** What an operator can do about sessions that failed, by outcome and cause: one table. */

/** What a remedy may depend on. */
export interface Trouble {
  readonly outcome: Outcome;
  readonly cause: Cause | null;
  readonly host: string;
  /** How many clients it happened to. */
  readonly clients: number;
  /** Who signed the certificate that the client was shown. */
  readonly authority: "primary" | "secondary" | "inbound" | null;
}

type Remedy = (trouble: Trouble) => string;

/** What is to be done, in a sentence or two; undefined: it is no trouble, but what policy wants, or what peers do every day. */
export function remedyFor(trouble: Trouble): string | undefined {
  const { outcome, cause } = trouble;
  const own = cause === null ? undefined : OWN[cause];
  if (!TROUBLES.includes(outcome)) return undefined;
  if (outcome === "dropped") return (cause === null ? undefined : DROPPED[cause])?.(trouble);
  if (outcome === "clientRefusedCertificate") return refusal(trouble);
  if (cause !== null && WANTED.includes(cause)) return undefined;
  return (own ?? GENERAL[outcome])?.(trouble);
}

/** What somebody wanted. */
const WANTED: readonly Cause[] = ["leftEarly", "nodeStopped", "endedByOperator"];

/** Outcomes that may be trouble. */
export const TROUBLES: readonly Outcome[] = [
  ...(["clientRefusedCertificate", "clientFailed", "serverFailed", "serverUnreachable"] as const),
  ...(["toolFailed", "nodeFailed", "dropped"] as const),
];

function refusal(trouble: Trouble): string {
  const { cause, host, authority } = trouble;
  const who = clientsOf(trouble);
  if (authority === "secondary")
    return `The server's own certificate has faults, so ${who("is", "are")} warned by one that nobody trusts, as policy wants. Have the server's certificate mended, or excuse the fault in a rule.`;
  if (authority === "inbound")
    return `${capital(who("does", "do"))} not take the certificate that the node holds for ${host}: see \`clearline keys list\`, and add a better one.`;
  if (cause === "unknown_ca") return `${capital(who("does", "do"))} not trust the CA: see trust.md, or bypass ${host}.`;
  if (cause === "leftAfterHandshake")
    return `${capital(who("leaves", "leave"))} right after the handshake: a check of the port, or a program that compares the server's own key. Bypass ${host} for it.`;
  const word = cause === "leftAtCertificate" ? "without saying why" : `by the alert ${cause}`;
  return `${capital(who("refuses", "refuse"))} the certificate, ${word}: it is not trusted (see trust.md), or the program wants the server's own. Then bypass ${host}.`;
}

const GENERAL: Readonly<Partial<Record<Outcome, Remedy>>> = {
  clientFailed: ({ host }) =>
    `The client's TLS broke off: see \`clearline session\` for its alerts, or bypass ${host}.`,
  serverFailed: ({ host }) => `The server broke off: try it without the node; if it works there, bypass ${host}.`,
  serverUnreachable: () => "The server cannot be reached: look at the server and at the way to it from the node.",
  toolFailed: () => "A tool failed: see `clearline stats`; its `onFailure` says what becomes of sessions.",
  nodeFailed: () => "The node failed: see its log and `clearline doctor`.",
};

/** What to do where the cause says more than the outcome. */
const OWN: Readonly<Partial<Record<Cause, Remedy>>> = {
  certificate_required: ({ host }) =>
    `The server wants a client certificate, which only the client has: bypass ${host}, or see policy.clientCertificate.`,
  protocol_version: ({ outcome, host }) =>
    outcome === "serverFailed"
      ? `The server speaks none of the versions that it was offered: see policy.versions, or bypass ${host}.`
      : `The client speaks none of the versions that the server does: see policy.versions, or bypass ${host}.`,
  handshake_failure: ({ host }) => `The two have no suite or group in common through the node: bypass ${host}.`,
  unrecognized_name: ({ host }) => `The server does not know the name ${host}: the client asks the wrong server.`,
  no_application_protocol: ({ host }) => `No protocol of ALPN was left: see the rule's \`alpn\`, or bypass ${host}.`,
  unknownHost: ({ host }) =>
    `No DNS server knows ${host}: it is misspelt, or the node asks other servers than the client.`,
  resolverFailed: () => "The node's DNS servers fail: see /etc/resolv.conf and `clearline doctor`.",
  refused: ({ outcome }) =>
    outcome === "toolFailed" ? "The tool does not listen: start it." : "Nothing listens on the server's port.",
  unreachable: () => "The node has no way to the server's network: see its routes.",
  asymmetricRoute: () => "The server's answers pass the node by: let both directions pass through it.",
  timeout: ({ outcome, host }) =>
    outcome === "serverUnreachable"
      ? "The server does not answer: it is down, or a firewall drops what the node sends."
      : outcome === "clientFailed"
        ? "The client began and said no more: a slow or stuck program, or an attack (see limits.perClient)."
        : `It took too long: see timeouts.handshake; if the server is only slow with the node, bypass ${host}.`,
  malformedRequest: () => "The client's HTTP is malformed: mend the client.",
  toolDown: () => "A tool that must not be left out has failed: mend it, or set its `onFailure` to bypass.",
  toolEnded: () => "The tool ended the session: if it meant to, nothing is wrong; see the tool's own log.",
  limit: () => "The node met a limit: see `clearline stats`, and raise it or add a node (scaling.md).",
  noPort: () => "The node has no port left for this server: add addresses, or a node.",
  notPermitted: () => "The machine's own firewall forbids the node to connect.",
  noCertificate: () => "The node could not sign a certificate in time: see its log, and `clearline ca show`.",
  internalError: () => "A bug of the node ended it: the log has it; please report it.",
  workerEnded: () => "A worker died with its sessions: the log says why.",
  nodeEnded: () => "The node died with its sessions: the log of that time says why.",
};

/** What is dropped for a reason that somebody may want to change; a rule that drops is no trouble. */
const DROPPED: Readonly<Partial<Record<Cause, Remedy>>> = {
  ...fromFaults({
    expired: "has expired, or is not valid yet",
    selfSigned: "is self-signed",
    unknownIssuer: "has an issuer that is not trusted",
    hostMismatch: "is for another host",
    invalid: "is invalid",
    revoked: "is revoked",
    revocationUnknown: "may be revoked: nobody answered",
  }),
  clientCertificate: ({ host }) =>
    `The server demands a client certificate, which only the client has: bypass ${host}, or see policy.clientCertificate.`,
  versions: ({ host }) => `A side speaks only versions outside of policy.versions: widen them, or bypass ${host}.`,
  undecryptable: ({ host }) => `The node cannot decrypt it: bypass ${host}, or set policy.undecryptable to bypass.`,
  notTls: () => "It is not TLS, which policy.notTls drops: except its port in policy.ports.",
  missingKey: ({ host }) => `The node holds no key for ${host}: add it with \`clearline keys add\`.`,
  verifyBypass: ({ host }) => `The server shows no certificate for ${host}: the client may use its name to get out.`,
  startTls: () => "A peer broke the dialogue before TLS in a way that could hide something: look at both.",
  overload: () => "The node was overloaded: see `clearline stats` and the log, and add workers or a node (scaling.md).",
  secondHello: () => "The client said something else in its second ClientHello: look at the client.",
};

function fromFaults(says: Readonly<Partial<Record<Cause, string>>>): Partial<Record<Cause, Remedy>> {
  const remedy =
    (what: string): Remedy =>
    ({ host }) =>
      `The server's certificate ${what}: have it mended; until then excuse the fault in a rule for ${host}, or trust its issuer (trust.files).`;
  return Object.fromEntries(Object.entries(says).map(([cause, what]) => [cause, remedy(what)]));
}

/** "1 client does", "3 clients do". */
function clientsOf({ clients }: Trouble): (one: string, many: string) => string {
  return (one, many) => (clients === 1 ? `1 client ${one}` : `${clients} clients ${many}`);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
