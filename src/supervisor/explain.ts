import { X509Certificate } from "node:crypto";
import type { Config } from "../config/schema.ts";
import type { ExplainQuery, Explanation, OverloadInfo } from "../control/api.ts";
import { ConfigError } from "../errors.ts";
import { verifyServer } from "../pki/verify/verify.ts";
import { recordCertificate } from "../pki/x509/certificate-record.ts";
import { UNTAGGED } from "../policy/conditions.ts";
import { explain } from "../policy/explain.ts";
import type { KnownFacts } from "../policy/view.ts";
import type { Endpoint } from "../vocabulary.ts";
import { otherwise } from "./explain-otherwise.ts";
import { refusedByReach } from "./explain-reach.ts";
import type { NodeState } from "./state.ts";

type Listener = Config["listeners"][number];

/** What the node's policy would decide about a flow. What the query leaves out is not known. Throws ConfigError. */
export function explainFlow(
  { active }: Pick<NodeState, "active">,
  query: ExplainQuery,
  overload?: Pick<OverloadInfo, "level" | "measures">,
): Explanation {
  const { config } = active.loaded;
  const { host, client, server, listener, vlan } = query;
  const target = server === undefined ? undefined : readEndpoint(server);
  const beginning = beginningOf(config, listener, target);
  const keyHeld = active.keystore.find(host, target?.address ?? "").length > 0;
  const facts: KnownFacts = {
    ...(listener !== undefined && { listener }),
    ...(vlan !== undefined && { vlan: vlan === UNTAGGED ? null : vlan }),
    ...(client !== undefined && { client: { address: client, port: 0 } }),
    ...(target && { server: target }),
    // A key may be held for the host or for the address.
    ...((keyHeld || (host !== undefined && target)) && { keyHeld }),
    ...(host !== undefined && { sni: host, connectHost: beginning.protocol === "CONNECT" ? host : null }),
    ...(query.alpn !== undefined && { alpn: query.alpn.split(",").filter((name) => name !== "") }),
    upgraded: beginning.protocol !== "TLS",
    ...(overload && overload.level !== "none" && { overload: whyOverloaded(overload) }),
    ...(query.certificatePem !== undefined && {
      certificate: certificateFacts(active, query.certificatePem, host),
    }),
  };
  const monitoring = config.policy.monitor
    ? ["policy.monitor were off: while it is on, such a flow passes as it is"]
    : [];
  const [first] = config.listeners;
  const refusal = target && refusedByReach(config, listener ?? first!.name, host, target);
  const explained = explain(active.policy, facts);
  return {
    ...(refusal ? { verdict: refusal, entries: [REACH, ...explained.entries] } : explained),
    assumed: [
      ...beginning.assumed,
      ...monitoring,
      ...(overload?.level === "half"
        ? ["The node is overloaded now, and this flow is of the half that it spares"]
        : []),
    ],
    otherwise: otherwise(config, active.policy, facts, beginning.port),
  };
}

/** The step that comes before all others. */
const REACH = { phase: "network", group: "reach", name: "reach", action: "drop", truth: true } as const;

function whyOverloaded({ measures }: Pick<OverloadInfo, "measures">): string {
  const met = measures.filter(({ level }) => level !== "none").map(({ measure }) => `overload.${measure}`);
  return `The node is overloaded now: it met ${met.join(", ")}`;
}

interface Beginning {
  readonly protocol: "TLS" | "CONNECT" | "STARTTLS";
  /** What the query does not say and the explanation depends on, one sentence each. */
  readonly assumed: readonly string[];
  /** The server's port, as far as it is known. */
  readonly port: number | undefined;
}

/**
 * How the flow begins. One that begins in plaintext, with CONNECT or STARTTLS, has its hosts judged in the certificate phase.
 * Without a listener in the query, the listeners of the configuration decide; the first one when they differ.
 */
function beginningOf(config: Config, name: string | undefined, target: Endpoint | undefined): Beginning {
  const listeners = config.listeners.filter((one) => name === undefined || one.name === name);
  const [first] = listeners;
  if (!first) {
    const names = config.listeners.map((one) => one.name).join(", ");
    throw new ConfigError("listener", `Cannot explain: there is no listener ${name}; the configuration has ${names}`);
  }
  const protocols = listeners.map((one) => protocolOf(config, one, target));
  const protocol = protocols[0]!;
  const differs = protocols.some((one) => one !== protocol);
  return {
    protocol,
    port: portOf(first, target),
    assumed: [
      ...(differs ? [`The flow arrives at listener ${first.name} (${first.mode}); --listener names another`] : []),
      ...(protocol === "CONNECT" ? ["The client sends CONNECT, so hosts are judged in the certificate phase"] : []),
      ...(protocol === "STARTTLS"
        ? [`Port ${portOf(first, target)} is in policy.startTls.ports, so hosts are judged in the certificate phase`]
        : []),
    ],
  };
}

function protocolOf({ policy }: Config, listener: Listener, target: Endpoint | undefined): Beginning["protocol"] {
  if (listener.mode === "explicit") return "CONNECT";
  const { enabled, ports } = policy.startTls;
  const port = portOf(listener, target);
  return enabled && port !== undefined && ports.includes(port) ? "STARTTLS" : "TLS";
}

/** The server's port: the query's, or the one that a forwarding listener connects to. */
function portOf(listener: Listener, target: Endpoint | undefined): number | undefined {
  return target?.port ?? (listener.mode === "forward" ? listener.server.port : undefined);
}

function certificateFacts({ trust, loaded }: NodeState["active"], pem: string, host: string | undefined) {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(pem);
  } catch (error) {
    throw new ConfigError("certificatePem", "Cannot explain: the file holds no certificate in PEM", { cause: error });
  }
  const { names, issuer } = recordCertificate(leaf);
  const anchored = trust.roots.some((root) => new X509Certificate(root).raw.equals(leaf.raw));
  // The chain is not known, so only a self-signed certificate is known to reach nothing that is trusted.
  const errors = !anchored && leaf.checkIssued(leaf) ? ["DEPTH_ZERO_SELF_SIGNED_CERT"] : [];
  const chain = { errors, path: [leaf], anchored };
  const found = verifyServer({ leaf, chain, host, use: undefined, now: Date.now() });
  const faults = found.filter(({ fault }) => fault !== "unknownIssuer");
  const { ocsp, crl } = loaded.config.policy.revocation;
  // Explaining asks no responder.
  const revocationOpen = ocsp !== "off" || crl !== "off";
  return { names, issuer, faults: faults.map(({ fault }) => fault), revocationOpen };
}

/** "10.0.0.5:443" or "[2001:db8::1]:443"; the API has checked the form. */
function readEndpoint(text: string): Endpoint {
  const at = text.lastIndexOf(":");
  return { address: text.slice(0, at).replace(/^\[|\]$/g, ""), port: Number(text.slice(at + 1)) };
}
