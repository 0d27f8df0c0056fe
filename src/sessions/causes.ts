/**
 * Why sessions end, as a fixed set of codes: the names of TLS alerts (RFC 8446, section 6), and words of the node's own for errors of
 * the network and for what policy decided. Free text is in `closeReason` and `reason`.
 */
export const CAUSES = [
  // Alerts, by IANA's names.
  ...(["unexpected_message", "bad_record_mac", "decryption_failed", "record_overflow"] as const),
  ...(["decompression_failure", "handshake_failure", "no_certificate", "bad_certificate"] as const),
  ...(["unsupported_certificate", "certificate_revoked", "certificate_expired", "certificate_unknown"] as const),
  ...(["illegal_parameter", "unknown_ca", "access_denied", "decode_error", "decrypt_error"] as const),
  ...(["export_restriction", "protocol_version", "insufficient_security", "internal_error"] as const),
  ...(["inappropriate_fallback", "user_canceled", "no_renegotiation", "missing_extension"] as const),
  ...(["unsupported_extension", "certificate_unobtainable", "unrecognized_name"] as const),
  ...(["bad_certificate_status_response", "bad_certificate_hash_value", "unknown_psk_identity"] as const),
  ...(["certificate_required", "no_application_protocol", "ech_required", "otherAlert"] as const),
  // The client left: at the certificate, with the handshake behind it, before it asked for anything.
  ...(["leftAtCertificate", "leftAfterHandshake", "leftEarly"] as const),
  // A connection.
  ...(["closed", "reset", "timeout", "refused", "unreachable", "unknownHost", "resolverFailed"] as const),
  ...(["asymmetricRoute", "idle", "notReading", "protocolError", "networkError"] as const),
  ...(["malformedRequest", "startTlsRefused", "startTlsWithdrawn"] as const),
  // Tools.
  ...(["toolDown", "toolEnded"] as const),
  // The node.
  ...(["limit", "noPort", "notPermitted", "noCertificate", "internalError"] as const),
  ...(["workerEnded", "nodeEnded", "nodeStopped", "endedByOperator"] as const),
  // Policy, by what decided.
  ...([
    "rule",
    "bypassList",
    "addedBypass",
    "default",
    "learnt",
    "monitor",
    "acme",
    "reach",
    "missingKey",
    "versions",
  ] as const),
  ...(["clientCertificate", "verifyBypass", "undecryptable", "notTls", "startTls", "secondHello"] as const),
  ...(["channelBinding", "overload"] as const),
  // Faults of the server's certificate for which policy bypasses or drops.
  ...(["expired", "selfSigned", "unknownIssuer", "hostMismatch", "invalid"] as const),
  ...(["revoked", "revocationUnknown"] as const),
] as const;
export type Cause = (typeof CAUSES)[number];

/** Codes of the system, of c-ares, and of the node's own errors. */
const CODES: Readonly<Record<string, Cause>> = {
  ...{ EOF: "closed", ECONNRESET: "reset", EPIPE: "reset", ECONNABORTED: "leftEarly", ELEFT: "leftEarly" },
  ...{ ETIMEDOUT: "timeout", EIDLE: "idle", ENOBUFS: "notReading", EPROTO: "protocolError" },
  ...{ ECONNREFUSED: "refused", EHOSTUNREACH: "unreachable", ENETUNREACH: "unreachable", EHOSTDOWN: "unreachable" },
  ...{ ENETDOWN: "unreachable", EASYMMETRIC: "asymmetricRoute" },
  ...{ ENOTFOUND: "unknownHost", ENODATA: "unknownHost", EBADNAME: "unknownHost", EAI_NONAME: "unknownHost" },
  ...{ ESERVFAIL: "resolverFailed", EREFUSED: "resolverFailed", EFORMERR: "resolverFailed", ENOTIMP: "resolverFailed" },
  ...{ EBADRESP: "resolverFailed", ETIMEOUT: "resolverFailed", EAI_AGAIN: "resolverFailed" },
  ...{ ECANCELED: "endedByOperator" },
  ...{ ETOOL: "toolDown", ETOOLEND: "toolEnded" },
  ...{ EMFILE: "limit", ENFILE: "limit", ENOMEM: "limit", EBUSY: "limit" },
  ...{ EADDRNOTAVAIL: "noPort", EADDRINUSE: "noPort", EACCES: "notPermitted", EPERM: "notPermitted" },
};

const KNOWN: ReadonlySet<string> = new Set(CAUSES);

/** The cause for an alert's name, an error's code, or a cause itself. */
export function causeOf(code: string): Cause {
  if (KNOWN.has(code)) return code as Cause;
  if (code.startsWith("alert_")) return "otherAlert";
  if (Object.hasOwn(CODES, code)) return CODES[code] as Cause;
  // OpenSSL's codes say how a peer broke its protocol.
  return code.startsWith("ERR_") ? "protocolError" : "networkError";
}

/** The causes of built-in verdicts, by the name that stands for a rule's. Any other name is a rule of the configuration. */
export const BUILT_INS: Readonly<Record<string, Cause>> = {
  ...{ "bypass list": "bypassList", "decrypt list": "rule", default: "default", learnt: "learnt", monitor: "monitor" },
  ...{ "acme-tls/1": "acme", reach: "reach", "missing key": "missingKey", versions: "versions" },
  ...{ "client certificate": "clientCertificate", "channel binding": "channelBinding" },
  ...{ verifyBypass: "verifyBypass", undecryptable: "undecryptable", overload: "overload" },
  ...{ notTls: "notTls", startTls: "startTls", "second hello": "secondHello", "certificate fault": "invalid" },
};

/** The name that stands for a bypass that somebody added while the node ran: no rule may have it. */
export const ADDED_BYPASS = /^bypass [0-9a-f]{8}$/;
