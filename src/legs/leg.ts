import type { X509Certificate } from "node:crypto";
import type { KeyUse } from "../pki/verify/strictness.ts";
import type { Bond, SessionKeeper } from "../resumption/keeper.ts";
import type { TicketKeys } from "../resumption/ticket-keys.ts";
import type { ServerHello } from "../wire/server-hello.ts";

/** What the two sides of one leg agreed on. Names are IANA's. */
export interface Negotiated {
  readonly version: string;
  readonly suite: string;
  /** Undefined: the suite has no key exchange group. */
  readonly group: string | undefined;
  /** Undefined: no protocol was negotiated. */
  readonly alpn: string | undefined;
  /** The two came back to an earlier session, with an abbreviated handshake. */
  readonly resumed: boolean;
}

/** TLS that is up on an end: what is read from and written to the end is its plaintext. */
export interface Leg {
  readonly negotiated: Negotiated;
}

/** Takes one line of the NSS key log format, with its end: the keys of a leg, while it comes up. */
export type KeyTaker = (line: Buffer) => void;

/** Why a leg did not come up: an expected outcome. */
export interface LegFailure {
  readonly kind: "failed";
  /** "alert": the peer refused with one. "protocol": we refused the peer. "network": the connection ended. "timeout". */
  readonly cause: "alert" | "protocol" | "network" | "timeout";
  /** The alert that says why to the other side: RFC 8446, section 6.2. */
  readonly alert: number;
  /** OpenSSL's or the system's code, for the record. */
  readonly code: string;
  /** The server asked for a client certificate, which only the client has. */
  readonly certificateRequested?: boolean;
  /** The server was offered an earlier session, and may have broken on that. */
  readonly resuming?: boolean;
  /** What the node had told a client before the handshake failed; absent: it had sent no ServerHello. */
  readonly told?: Negotiated | undefined;
  /** One sentence for people and the record. */
  readonly reason: string;
}

/** The TLS session with the server, and what the server showed. */
export interface ServerLeg extends Leg {
  readonly kind: "up";
  readonly certificate: X509Certificate;
  /** This and the certificates that the server sent with it, in DER; of a resumed session, those of the full handshake. */
  readonly ders: readonly Buffer[];
  /** Names these bytes. */
  readonly key: string;
  /** What the server's key did in the full handshake. */
  readonly use: KeyUse;
  /** The server asked for a client certificate, which only the client has, and went on without one. */
  readonly certificateRequested?: boolean;
  /** Calls back, at most once, when the server asks for a client certificate after the handshake. */
  readonly onAskedLate?: (listener: () => void) => void;
  /** The OCSP response that the server stapled to its certificate, as it came. */
  readonly staple?: Buffer | undefined;
  /** Its ServerHello, where somebody wants it. In SSL 3.0 it is not kept. */
  readonly hello?: ServerHello | undefined;
}

/** The TLS session with the client. */
export interface ClientLeg extends Leg {
  readonly kind: "up";
  /** Which of several certificates the client was shown: its place among them. Absent: there was one. */
  readonly shown?: number;
}

/** What the client is shown. Several when there is one of each key type; OpenSSL shows the one that the client can verify. */
export interface Presentable {
  readonly certificatePem: string;
  readonly keyPem: string;
  /** The OCSP response for a client that asks for one. */
  readonly staple?: Buffer | undefined;
}

/** How a client may come back. */
export interface ClientResumption {
  /** By identifier, up to TLS 1.2. Undefined: not at all. */
  readonly sessions: SessionKeeper | undefined;
  /** By ticket. None: not at all. */
  readonly ticketKeys: TicketKeys;
  /** What must be the same when it does. */
  readonly bond: Bond;
  /** ms from the full handshake to the last abbreviated one. */
  readonly timeout: number;
}
