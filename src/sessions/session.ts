/** The state of one of the node's four TCP ends: product.md, section 2. */
export type End = "INIT" | "SYN_SENT" | "SYN_RCV" | "EST";

/** Na:Nb:Ta:Tb, written as "EST:EST:INIT:INIT". */
export type State = `${End}:${End}:${End}:${End}`;

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What was negotiated on one leg. Names are IANA's: "TLSv1.3", "TLS_AES_128_GCM_SHA256", "X25519MLKEM768", "h2". */
export interface LegRecord {
  readonly version?: string;
  readonly suite?: string;
  readonly group?: string;
  readonly alpn?: string | null;
  /** Plaintext bytes (or bytes as they are, when not decrypted) from and to this leg's peer. */
  readonly received: number;
  readonly sent: number;
}

export interface CertificateRecord {
  readonly subject: string;
  readonly issuer: string;
  readonly names: readonly string[];
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
  /** ms since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly faults: readonly { readonly fault: string; readonly code: string }[];
}

/** What the client was shown instead of, or as, the server's certificate. */
export interface PresentedRecord {
  readonly authority: "primary" | "secondary" | "inbound";
  readonly serial: string;
  readonly sha256: string;
  readonly keyType: string;
}

/** One client connection with its legs: a row of the session table. Plain data, replaced and never mutated. */
export interface Session {
  readonly id: string;
  readonly worker: number;
  readonly listener: string;
  readonly mode: string;
  readonly state: State;
  readonly client: Endpoint;
  readonly server: Endpoint | null;
  /** "tls": a ClientHello was seen. "http": plain HTTP through the explicit proxy. "other": anything else. null: nothing seen yet. */
  readonly protocol: "tls" | "http" | "other" | null;
  readonly sni: string | null;
  readonly connectHost: string | null;
  readonly ech: "outer" | "inner" | null;
  readonly ja3: string | null;
  readonly ja4: string | null;
  readonly deployment: "outbound" | "inbound" | null;
  readonly certificate: CertificateRecord | null;
  readonly presented: PresentedRecord | null;
  readonly verdict: "decrypt" | "bypass" | "drop" | null;
  readonly phase: "network" | "sni" | "certificate" | null;
  readonly rule: string | null;
  readonly reason: string | null;
  readonly clientLeg: LegRecord;
  readonly serverLeg: LegRecord;
  /** Files or places that hold the copy of the plaintext, by feed name. */
  readonly feeds: Readonly<Record<string, string>>;
  /** ms since the epoch. */
  readonly start: number;
  readonly lastActivity: number;
  readonly end: number | null;
  /** One sentence, once the session is over: "The client closed the connection". */
  readonly closeReason: string | null;
  /** How each peer left: "closed" a FIN (TLS legs: with or without close_notify, which the TLS library does not show), "reset" a RST. */
  readonly clientLeft: "closed" | "reset" | null;
  readonly serverLeft: "closed" | "reset" | null;
}
