import type { Endpoint, Fault } from "../vocabulary.ts";
/** What a policy decides: product.md calls them verdicts. */
export type Action = "decrypt" | "bypass" | "drop";

/** When a verdict falls: on the SYN, on the ClientHello, on the server's certificate. */
export type Phase = "network" | "sni" | "certificate";

/**
 * What is known of a flow. Facts arrive in stages: a fact that is `undefined` is not known yet, which is not the
 * same as absent; absent is `null`.
 */
export interface Facts {
  readonly listener: string;
  readonly client: Endpoint;
  /** null: an explicit proxy's target that could not be resolved. */
  readonly server?: Endpoint | null | undefined;
  /** The SNI host of the ClientHello; null: it named none. */
  readonly sni?: string | null | undefined;
  /** The host of an HTTP CONNECT; null: the flow did not begin with one. */
  readonly connectHost?: string | null | undefined;
  readonly certificate?: CertificateFacts | undefined;
  /** The flow began in plaintext (CONNECT, STARTTLS): its verdict is committed in the certificate phase. */
  readonly upgraded?: boolean | undefined;
  /** The server is known to demand a client certificate, which the node does not have. */
  readonly clientCertificateDemanded?: boolean | undefined;
  /** The node holds a key for the server: inbound. */
  readonly keyHeld?: boolean | undefined;
  /** What the client offered, as TLS version numbers (0x0303 is TLS 1.2), highest first. */
  readonly versions?: readonly number[] | undefined;
}

export interface CertificateFacts {
  /** DNS names and addresses of subjectAltName, or the subject's common name when there is none. */
  readonly names: readonly string[];
  /** The issuer's distinguished name, one line: "CN=R3, O=Let's Encrypt, C=US". */
  readonly issuer: string;
  readonly faults: readonly Fault[];
  /** Nobody was asked yet whether it was revoked: the faults that tell of it are not known. */
  readonly revocationOpen?: boolean | undefined;
}

/** The faults that others have to be asked about. */
export const REVOCATION_FAULTS: readonly Fault[] = ["revoked", "revocationUnknown"];

/** What was decided, and why: every bypass and drop is visible with phase, rule and reason. */
export interface Verdict {
  readonly action: Action;
  readonly phase: Phase;
  /** The rule's name, or the built-in that decided: "bypass list", "default", "certificate fault", "versions"… */
  readonly rule: string;
  /** One sentence for people. */
  readonly reason: string;
  /** true: a later phase may still say bypass or drop. */
  readonly provisional: boolean;
  /** The inline tools that the deciding rule names, in order; undefined: it names none, all that take the flow. */
  readonly tools?: readonly string[] | undefined;
  /** The deciding rule keeps HTTP/2 out. */
  readonly alpn?: "http/1.1" | undefined;
}
