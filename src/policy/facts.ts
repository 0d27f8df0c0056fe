import type { Action, Endpoint, Fault, Phase } from "../vocabulary.ts";

/**
 * The known facts about a flow. Facts arrive in stages: `undefined` means not known yet, `null` means known to be absent.
 */
export interface Facts {
  readonly listener: string;
  /** The VLAN that it came by: "10", "100/10"; null: its frames have no tag. */
  readonly vlan?: string | null | undefined;
  readonly client: Endpoint;
  /** null: the target of a proxy request that could not be resolved. */
  readonly server?: Endpoint | null | undefined;
  /** The SNI of the ClientHello; null: it has none. */
  readonly sni?: string | null | undefined;
  /** The host of an HTTP CONNECT; null: the flow did not begin with one. */
  readonly connectHost?: string | null | undefined;
  /** The host of a plain HTTP request; null: it names none. */
  readonly requestHost?: string | null | undefined;
  readonly certificate?: CertificateFacts | undefined;
  /** The flow began in plaintext (CONNECT, STARTTLS), so its hosts are judged in the certificate phase. */
  readonly upgraded?: boolean | undefined;
  /** The server is known to demand a client certificate, which the node does not have. */
  readonly clientCertificateDemanded?: boolean | undefined;
  /** A client has bound its log-in at this server to the TLS channel, which breaks it in a decrypted session. */
  readonly channelBound?: boolean | undefined;
  /** The client has refused the node's certificates for this host again and again, and policy.learn wants that learnt. */
  readonly certificateRefused?: boolean | undefined;
  /** The node is overloaded, so it does not decrypt this session unless policy insists: why, as a sentence without its end. */
  readonly overload?: string | undefined;
  /** The node holds a key for the server: inbound. */
  readonly keyHeld?: boolean | undefined;
  /** The protocols that the client offers by ALPN. */
  readonly alpn?: readonly string[] | undefined;
  /** The protocol versions that the client offered, as numbers on the wire, highest first. */
  readonly versions?: readonly number[] | undefined;
}

export interface CertificateFacts {
  /** DNS names and addresses of subjectAltName, or the subject's common name if there are none. */
  readonly names: readonly string[];
  /** The issuer's distinguished name, one line: "CN=R3, O=Let's Encrypt, C=US". */
  readonly issuer: string;
  readonly faults: readonly Fault[];
  /** Revocation has not been checked yet, so the faults `revoked` and `revocationUnknown` are not known. */
  readonly revocationOpen?: boolean | undefined;
}

/** The faults that a revocation check finds. */
export const REVOCATION_FAULTS: readonly Fault[] = ["revoked", "revocationUnknown"];

/** A decision and its explanation. */
export interface Verdict {
  readonly action: Action;
  readonly phase: Phase;
  /** The name of the rule that decided, or of the built-in step: "bypass list", "default", "certificate fault", "versions"… */
  readonly rule: string;
  /** One sentence for people. */
  readonly reason: string;
  /** true: a later phase may still bypass or drop. */
  readonly provisional: boolean;
  /** The inline tools that the rule names, in order; undefined: all that take this flow class. */
  readonly tools?: readonly string[] | undefined;
  /** The rule forbids HTTP/2. */
  readonly alpn?: "http/1.1" | undefined;
  /** The server refused all that the node can do, so it may choose nothing of that while the session passes. */
  readonly beyondNode?: true;
  /** Monitor mode: the verdict that this one stands for. */
  readonly instead?: Pick<Verdict, "action" | "phase" | "rule" | "reason"> | undefined;
}
