/** Numbers of IANA's TLS registries, by their names there. Alerts are in alert.ts. */

/** RFC 8446, section 5.1. */
export const CONTENT_TYPES = {
  change_cipher_spec: 20,
  alert: 21,
  handshake: 22,
  application_data: 23,
} as const;

/** RFC 8446, section 4, and RFC 5246, section 7.4. */
export const HANDSHAKE_TYPES = {
  hello_request: 0,
  client_hello: 1,
  server_hello: 2,
  new_session_ticket: 4,
  encrypted_extensions: 8,
  certificate: 11,
  server_key_exchange: 12,
  certificate_request: 13,
  server_hello_done: 14,
  certificate_verify: 15,
  client_key_exchange: 16,
  finished: 20,
  certificate_status: 22,
} as const;

/** RFC 8446, section 4.2, and the RFCs cited where an extension is read. */
export const EXTENSIONS = {
  server_name: 0,
  status_request: 5,
  supported_groups: 10,
  ec_point_formats: 11,
  signature_algorithms: 13,
  application_layer_protocol_negotiation: 16,
  extended_master_secret: 23,
  session_ticket: 35,
  pre_shared_key: 41,
  early_data: 42,
  supported_versions: 43,
  post_handshake_auth: 49,
  signature_algorithms_cert: 50,
  key_share: 51,
  encrypted_client_hello: 0xfe0d,
  renegotiation_info: 0xff01,
} as const;

/** Cipher suite numbers that are signals and never chosen: RFC 5746, section 3.3, and RFC 7507. */
export const SIGNALLING_SUITES = {
  empty_renegotiation_info: 0x00ff,
  fallback: 0x5600,
} as const;
