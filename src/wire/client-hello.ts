/** A ClientHello as the client offered it: RFC 8446, section 4.1.2. GREASE values (RFC 8701) are left out of every list. */
export interface ClientHello {
  /** "sslv2": the SSLv2-format hello of RFC 5246, appendix E.2. */
  readonly format: "tls" | "sslv2";
  readonly legacyVersion: number;
  /** Versions the client accepts, highest first: supported_versions, or without it all from SSL 3.0 (0x0300) up to legacy_version. */
  readonly versions: readonly number[];
  readonly random: Buffer;
  readonly sessionId: Buffer;
  /** In the client's order, signalling values (SCSV) included. */
  readonly cipherSuites: readonly number[];
  readonly compressionMethods: readonly number[];
  /** Types in the order they stand. */
  readonly extensions: readonly number[];
  /** The host name of server_name (RFC 6066, section 3): A-labels in lower case, no trailing dot. Undefined when none, or an address. */
  readonly serverName: string | undefined;
  /** An IPv4 or IPv6 literal that stood in server_name, which RFC 6066 does not allow but clients do. */
  readonly serverAddress: string | undefined;
  readonly supportedGroups: readonly number[];
  /** Groups for which the client sent a key share (RFC 8446, section 4.2.8). */
  readonly keyShareGroups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
  /** RFC 7301, as latin1 strings. */
  readonly alpnProtocols: readonly string[];
  readonly ecPointFormats: readonly number[];
  /** status_request: the client asks for a stapled OCSP response (RFC 6066, section 8). */
  readonly statusRequest: boolean;
  readonly earlyData: boolean;
  /** Encrypted Client Hello (RFC 9849): "outer" hides the real name, "inner" is one already opened. GREASE ECH looks like "outer". */
  readonly ech: "outer" | "inner" | undefined;
  /** TLS_FALLBACK_SCSV (RFC 7507) was offered. */
  readonly fallback: boolean;
}
