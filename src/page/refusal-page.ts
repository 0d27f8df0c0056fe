import { STYLE } from "./style.ts";
import { fillTemplate, type PlaceTexts, tidy } from "./template.ts";

/** Why a client does not get what it asked for. */
export type RefusalKind =
  /** The policy drops the session. */
  | "policy"
  /** The server's certificate has faults that the policy does not accept. */
  | "certificate"
  /** The server could not be reached, or did not answer in time. */
  | "unreachable"
  | "timeout"
  /** The handshake with the server failed. */
  | "handshake";

export interface RefusedSession {
  readonly kind: RefusalKind;
  readonly reason: string;
  /** The rule, list or built-in that decided; undefined: none did. */
  readonly rule?: string | undefined;
  /** The session's ID. */
  readonly session: string;
  /** The host that the client asked for. */
  readonly host: string;
  /** The faults of the server's certificate. */
  readonly faults?: readonly string[] | undefined;
}

export interface PageOptions {
  /** Undefined: the built-in page. It has no fault. */
  readonly template: string | undefined;
  /** The page also says which option or rule lets the session pass. */
  readonly remedies: boolean;
}

/** What a refused client is sent, as a page and as text for clients that ask for none. */
export interface WrittenPage {
  readonly status: 403 | 502 | 504;
  readonly html: string;
  readonly text: string;
}

export function writeRefusal(refused: RefusedSession, { template = BUILT_IN, remedies }: PageOptions): WrittenPage {
  const { title, status } = KINDS[refused.kind];
  const { reason, host, session, rule } = refused;
  const advice = (remedies ? remedyFor(refused) : undefined) ?? ADVICE[refused.kind];
  const texts: PlaceTexts = {
    title,
    reason: asSentence(reason),
    advice,
    rule: rule ?? "none",
    session,
    host,
    status: String(status),
  };
  const lines = [`${title}: ${texts.reason}`, advice, `Rule: ${texts.rule}`, `Session: ${session}`];
  return { status, html: fillTemplate(template, texts), text: `${lines.map(tidy).join("\n")}\n` };
}

const KINDS: Readonly<Record<RefusalKind, { readonly title: string; readonly status: WrittenPage["status"] }>> = {
  policy: { title: "This connection is not allowed", status: 403 },
  certificate: { title: "This server cannot be trusted", status: 502 },
  unreachable: { title: "This server cannot be reached", status: 502 },
  timeout: { title: "This server does not answer", status: 504 },
  handshake: { title: "No secure connection to this server", status: 502 },
};

const ASK = "If you think that this is a mistake, give the session's ID to whoever runs this network.";
const ADVICE: Readonly<Record<RefusalKind, string>> = {
  policy: ASK,
  certificate: `Somebody may pretend to be this server, or its certificate was not renewed. ${ASK}`,
  unreachable: "Check the address, and try again later.",
  timeout: "Try again later.",
  handshake: `The server speaks no TLS that can be agreed on. ${ASK}`,
};

/** For somebody who runs the node alone: what to change so that the session passes. */
function remedyFor({ kind, host, faults = [] }: RefusedSession): string | undefined {
  const bypass = `--bypass ${host} lets its connections pass undecrypted.`;
  switch (kind) {
    case "certificate":
      if (faults.includes("revoked")) return undefined;
      return faults.includes("unknownIssuer")
        ? `If this server is yours, start the node with --trust FILE, the certificate of the CA that signed for it, or with --insecure ${host}.`
        : `If this server is yours, start the node with: npm start -- --insecure ${host}`;
    case "policy":
      return `clearline explain --host ${host} shows which part of the policy decides. ${bypass}`;
    case "handshake":
      return bypass;
    case "unreachable":
    case "timeout":
      return undefined;
    default:
      return kind satisfies never;
  }
}

function asSentence(reason: string): string {
  return /[.!?]$/.test(reason) ? reason : `${reason}.`;
}

const BUILT_IN = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>{{title}}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<div class="card">
<h1>{{title}}</h1>
<p>{{reason}}</p>
<p>{{advice}}</p>
<dl>
<dt>Host</dt><dd class="mono">{{host}}</dd>
<dt>Rule</dt><dd>{{rule}}</dd>
<dt>Session</dt><dd class="mono">{{session}}</dd>
</dl>
</div>
<footer>This page is not from {{host}}. It was made by Clearline, which inspects connections on this network.</footer>
</main>
</body>
</html>
`;
