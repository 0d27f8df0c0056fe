import { getSystemErrorName } from "node:util";
import koffi from "koffi";
import { InvariantError, NetworkError } from "../errors.ts";

/**
 * Every C function that the engine calls. libc, libuv and OpenSSL are all in the Node program, which exports them for
 * add-ons; nothing else is loaded. A pointer is a number here (a user-space address has 47 bits) and 0 is NULL. Memory that C
 * fills is a Buffer of ours, made with `memory`, so that it never moves.
 *
 * docs/engine.md says how to add a prototype. `check.ts` tries them once at the start of the process.
 */

const program = koffi.load(null);

type NumberFunction = (...args: readonly (number | bigint | string | Buffer | null)[]) => number;
type TextFunction = (...args: readonly number[]) => string | null;

/** Functions that the Node program does not export: `check.ts` names them before any is called. */
export const missingFunctions: string[] = [];

/** In the order of the C prototype: the result's type, then the arguments' types. */
function prototype(name: string, result: string, ...args: readonly string[]): NumberFunction {
  return find(name, result, args) as NumberFunction;
}

function textPrototype(name: string, ...args: readonly string[]): TextFunction {
  return find(name, "const char *", args) as TextFunction;
}

function find(name: string, result: string, args: readonly string[]): unknown {
  try {
    return program.func(name, result, [...args]);
  } catch {
    missingFunctions.push(name);
    return () => {
      throw new InvariantError(`The Node program does not export ${name}`);
    };
  }
}

/** `ptr`: an address as a number. `mem`: a Buffer, or null. `text`: a string that C reads during the call. */
const [int, ptr, mem, size, long, text, u64, none] = [
  "int",
  "uintptr_t",
  "void *",
  "size_t",
  "long",
  "const char *",
  "uint64_t",
  "void",
] as const;
const count = "intptr_t";

export const libc = {
  epoll_create1: prototype("epoll_create1", int, int),
  epoll_ctl: prototype("epoll_ctl", int, int, int, int, mem),
  epoll_wait: prototype("epoll_wait", int, int, mem, int, int),
  socket: prototype("socket", int, int, int, int),
  bind: prototype("bind", int, int, mem, "uint32_t"),
  listen: prototype("listen", int, int, int),
  accept4: prototype("accept4", int, int, mem, mem, int),
  connect: prototype("connect", int, int, mem, "uint32_t"),
  setsockopt: prototype("setsockopt", int, int, int, int, mem, "uint32_t"),
  getsockopt: prototype("getsockopt", int, int, int, int, mem, mem),
  getsockname: prototype("getsockname", int, int, mem, mem),
  getpeername: prototype("getpeername", int, int, mem, mem),
  recv: prototype("recv", count, int, ptr, size, int),
  send: prototype("send", count, int, ptr, size, int),
  shutdown: prototype("shutdown", int, int, int),
  sockatmark: prototype("sockatmark", int, int),
  close: prototype("close", int, int),
  splice: prototype("splice", count, int, mem, int, mem, size, int),
  fcntl: prototype("fcntl", int, int, int, int),
  pipe2: prototype("pipe2", int, mem, int),
  memcpy: prototype("memcpy", ptr, ptr, ptr, size),
  dlsym: prototype("dlsym", ptr, ptr, text),
} as const;

export const uv = {
  default_loop: prototype("uv_default_loop", ptr),
  handle_size: prototype("uv_handle_size", size, int),
  poll_init: prototype("uv_poll_init", int, ptr, mem, int),
  poll_start: prototype("uv_poll_start", int, mem, int, ptr),
  ref: prototype("uv_ref", none, mem),
  unref: prototype("uv_unref", none, mem),
} as const;

export const ssl = {
  init: prototype("OPENSSL_init_ssl", int, u64, ptr),
  CTX_new: prototype("SSL_CTX_new", ptr, ptr),
  CTX_free: prototype("SSL_CTX_free", none, ptr),
  TLS_client_method: prototype("TLS_client_method", ptr),
  TLS_server_method: prototype("TLS_server_method", ptr),
  CTX_ctrl: prototype("SSL_CTX_ctrl", long, ptr, int, long, ptr),
  CTX_ctrlText: prototype("SSL_CTX_ctrl", long, ptr, int, long, text),
  CTX_ctrlMemory: prototype("SSL_CTX_ctrl", long, ptr, int, long, mem),
  CTX_set_options: prototype("SSL_CTX_set_options", u64, ptr, u64),
  CTX_set_cipher_list: prototype("SSL_CTX_set_cipher_list", int, ptr, text),
  CTX_set_ciphersuites: prototype("SSL_CTX_set_ciphersuites", int, ptr, text),
  CTX_set_alpn_protos: prototype("SSL_CTX_set_alpn_protos", int, ptr, mem, "unsigned int"),
  CTX_set_alpn_select_cb: prototype("SSL_CTX_set_alpn_select_cb", none, ptr, ptr, ptr),
  CTX_set_info_callback: prototype("SSL_CTX_set_info_callback", none, ptr, ptr),
  CTX_set_msg_callback: prototype("SSL_CTX_set_msg_callback", none, ptr, ptr),
  CTX_set_client_cert_cb: prototype("SSL_CTX_set_client_cert_cb", none, ptr, ptr),
  CTX_set_keylog_callback: prototype("SSL_CTX_set_keylog_callback", none, ptr, ptr),
  CTX_add_custom_ext: prototype(
    "SSL_CTX_add_custom_ext",
    int,
    ptr,
    "unsigned int",
    "unsigned int",
    ptr,
    ptr,
    ptr,
    ptr,
    ptr,
  ),
  CTX_callback_ctrl: prototype("SSL_CTX_callback_ctrl", long, ptr, int, ptr),
  get_servername: textPrototype("SSL_get_servername", ptr, int),
  CTX_set_timeout: prototype("SSL_CTX_set_timeout", long, ptr, long),
  CTX_sess_set_new_cb: prototype("SSL_CTX_sess_set_new_cb", none, ptr, ptr),
  CTX_sess_set_get_cb: prototype("SSL_CTX_sess_set_get_cb", none, ptr, ptr),
  CTX_set_num_tickets: prototype("SSL_CTX_set_num_tickets", int, ptr, size),
  CTX_set_default_read_buffer_len: prototype("SSL_CTX_set_default_read_buffer_len", none, ptr, size),
  CTX_set_security_level: prototype("SSL_CTX_set_security_level", none, ptr, int),
  CTX_set_cert_verify_callback: prototype("SSL_CTX_set_cert_verify_callback", none, ptr, ptr, ptr),
  CTX_use_certificate: prototype("SSL_CTX_use_certificate", int, ptr, ptr),
  CTX_use_PrivateKey: prototype("SSL_CTX_use_PrivateKey", int, ptr, ptr),
  new: prototype("SSL_new", ptr, ptr),
  free: prototype("SSL_free", none, ptr),
  ctrl: prototype("SSL_ctrl", long, ptr, int, long, ptr),
  ctrlText: prototype("SSL_ctrl", long, ptr, int, long, text),
  ctrlMemory: prototype("SSL_ctrl", long, ptr, int, long, mem),
  set_connect_state: prototype("SSL_set_connect_state", none, ptr),
  set_accept_state: prototype("SSL_set_accept_state", none, ptr),
  set_session_id_context: prototype("SSL_set_session_id_context", int, ptr, mem, "unsigned int"),
  set_post_handshake_auth: prototype("SSL_set_post_handshake_auth", none, ptr, int),
  set_msg_callback: prototype("SSL_set_msg_callback", none, ptr, ptr),
  set_security_level: prototype("SSL_set_security_level", none, ptr, int),
  set0_rbio: prototype("SSL_set0_rbio", none, ptr, ptr),
  set0_wbio: prototype("SSL_set0_wbio", none, ptr, ptr),
  do_handshake: prototype("SSL_do_handshake", int, ptr),
  read: prototype("SSL_read", int, ptr, ptr, int),
  write: prototype("SSL_write", int, ptr, ptr, int),
  has_pending: prototype("SSL_has_pending", int, ptr),
  shutdown: prototype("SSL_shutdown", int, ptr),
  set_shutdown: prototype("SSL_set_shutdown", none, ptr, int),
  get_error: prototype("SSL_get_error", int, ptr, int),
  version: prototype("SSL_version", int, ptr),
  get_finished: prototype("SSL_get_finished", size, ptr, mem, size),
  get_current_cipher: prototype("SSL_get_current_cipher", ptr, ptr),
  get_pending_cipher: prototype("SSL_get_pending_cipher", ptr, ptr),
  CIPHER_standard_name: textPrototype("SSL_CIPHER_standard_name", ptr),
  get0_group_name: textPrototype("SSL_get0_group_name", ptr),
  get0_peer_certificate: prototype("SSL_get0_peer_certificate", ptr, ptr),
  get_peer_cert_chain: prototype("SSL_get_peer_cert_chain", ptr, ptr),
  get_certificate: prototype("SSL_get_certificate", ptr, ptr),
  get0_alpn_selected: prototype("SSL_get0_alpn_selected", none, ptr, mem, mem),
  get_session: prototype("SSL_get_session", ptr, ptr),
  set_session: prototype("SSL_set_session", int, ptr, ptr),
  session_reused: prototype("SSL_session_reused", int, ptr),
  SESSION_up_ref: prototype("SSL_SESSION_up_ref", int, ptr),
  SESSION_free: prototype("SSL_SESSION_free", none, ptr),
  SESSION_get_id: prototype("SSL_SESSION_get_id", ptr, ptr, mem),
  i2d_SESSION: prototype("i2d_SSL_SESSION", int, ptr, mem),
  d2i_SESSION: prototype("d2i_SSL_SESSION", ptr, ptr, mem, long),
} as const;

export const crypto = {
  version: prototype("OpenSSL_version_num", "unsigned long"),
  BIO_new_socket: prototype("BIO_new_socket", ptr, int, int),
  BIO_new_bio_pair: prototype("BIO_new_bio_pair", int, mem, size, mem, size),
  BIO_new_mem_buf: prototype("BIO_new_mem_buf", ptr, mem, int),
  BIO_up_ref: prototype("BIO_up_ref", int, ptr),
  BIO_ctrl: prototype("BIO_ctrl", long, ptr, int, long, ptr),
  BIO_free: prototype("BIO_free", int, ptr),
  BIO_write: prototype("BIO_write", int, ptr, ptr, int),
  BIO_ctrl_get_write_guarantee: prototype("BIO_ctrl_get_write_guarantee", size, ptr),
  BIO_nread0: prototype("BIO_nread0", int, ptr, mem),
  BIO_nread: prototype("BIO_nread", int, ptr, mem, int),
  ERR_peek_error: prototype("ERR_peek_error", "unsigned long"),
  ERR_clear_error: prototype("ERR_clear_error", none),
  ERR_reason_error_string: textPrototype("ERR_reason_error_string", "unsigned long"),
  PEM_read_bio_X509: prototype("PEM_read_bio_X509", ptr, ptr, ptr, ptr, ptr),
  PEM_read_bio_PrivateKey: prototype("PEM_read_bio_PrivateKey", ptr, ptr, ptr, ptr, ptr),
  memdup: prototype("CRYPTO_memdup", ptr, mem, size, text, int),
  X509_free: prototype("X509_free", none, ptr),
  X509_up_ref: prototype("X509_up_ref", int, ptr),
  X509_cmp: prototype("X509_cmp", int, ptr, ptr),
  i2d_X509: prototype("i2d_X509", int, ptr, mem),
  EVP_PKEY_get_bits: prototype("EVP_PKEY_get_bits", int, ptr),
  EVP_PKEY_get_base_id: prototype("EVP_PKEY_get_base_id", int, ptr),
  EVP_PKEY_set_type: prototype("EVP_PKEY_set_type", int, ptr, int),
  EVP_PKEY_free: prototype("EVP_PKEY_free", none, ptr),
  d2i_X509: prototype("d2i_X509", ptr, ptr, mem, long),
  X509_STORE_new: prototype("X509_STORE_new", ptr),
  X509_STORE_free: prototype("X509_STORE_free", none, ptr),
  X509_STORE_add_cert: prototype("X509_STORE_add_cert", int, ptr, ptr),
  X509_STORE_CTX_new: prototype("X509_STORE_CTX_new", ptr),
  X509_STORE_CTX_free: prototype("X509_STORE_CTX_free", none, ptr),
  X509_STORE_CTX_init: prototype("X509_STORE_CTX_init", int, ptr, ptr, ptr, ptr),
  X509_STORE_CTX_set_verify_cb: prototype("X509_STORE_CTX_set_verify_cb", none, ptr, ptr),
  X509_STORE_CTX_get_error: prototype("X509_STORE_CTX_get_error", int, ptr),
  X509_STORE_CTX_get0_param: prototype("X509_STORE_CTX_get0_param", ptr, ptr),
  X509_STORE_CTX_get0_chain: prototype("X509_STORE_CTX_get0_chain", ptr, ptr),
  X509_STORE_CTX_get_num_untrusted: prototype("X509_STORE_CTX_get_num_untrusted", int, ptr),
  X509_VERIFY_PARAM_set_flags: prototype("X509_VERIFY_PARAM_set_flags", int, ptr, "unsigned long"),
  X509_VERIFY_PARAM_clear_flags: prototype("X509_VERIFY_PARAM_clear_flags", int, ptr, "unsigned long"),
  X509_VERIFY_PARAM_add0_policy: prototype("X509_VERIFY_PARAM_add0_policy", int, ptr, ptr),
  OBJ_nid2obj: prototype("OBJ_nid2obj", ptr, int),
  X509_VERIFY_PARAM_set_depth: prototype("X509_VERIFY_PARAM_set_depth", none, ptr, int),
  X509_VERIFY_PARAM_set_time: prototype("X509_VERIFY_PARAM_set_time", none, ptr, long),
  X509_VERIFY_PARAM_set_auth_level: prototype("X509_VERIFY_PARAM_set_auth_level", none, ptr, int),
  X509_verify_cert: prototype("X509_verify_cert", int, ptr),
  sk_new_null: prototype("OPENSSL_sk_new_null", ptr),
  sk_push: prototype("OPENSSL_sk_push", int, ptr, ptr),
  sk_free: prototype("OPENSSL_sk_free", none, ptr),
  sk_num: prototype("OPENSSL_sk_num", int, ptr),
  sk_value: prototype("OPENSSL_sk_value", ptr, ptr, int),
} as const;

/** The system's error of the last call into libc. Valid right after that call only. */
export function errno(): number {
  return koffi.errno();
}

/** Memory that C may keep the address of: it never moves, and lives as long as the Buffer is reachable. */
export function memory(bytes: number): Buffer {
  // Through an ArrayBuffer: V8 keeps a small Uint8Array's bytes inside of the object, which moves.
  return Buffer.from(new ArrayBuffer(bytes));
}

/** Memory of `permanent`, which nothing else may keep reachable. */
const permanents: Buffer[] = [];

/**
 * Memory for the life of the process, with its address. A constant of a module is collected once no function uses it, although its
 * address still is: so this keeps the Buffer.
 */
export function permanent(bytes: number): { readonly bytes: Buffer; readonly at: number } {
  const buffer = memory(bytes);
  permanents.push(buffer);
  return { bytes: buffer, at: addressOf(buffer) };
}

/** Where this memory begins. The caller keeps the Buffer as long as C has the address. */
export function addressOf(bytes: Buffer): number {
  return Number(koffi.address(bytes));
}

/** The address of an exported C function, to be given to C as a callback. */
export function addressOfFunction(name: string): number {
  const address = libc.dlsym(0, name);
  if (address === 0) throw new NetworkError(`The Node program does not export ${name}`, "ENOSYS");
  return address;
}

/** The first exception of a callback that nobody has taken yet. */
let failure: unknown;

/** Throws what a callback threw during the call into C that has just returned. */
export function rethrow(): void {
  if (failure === undefined) return;
  const error = failure;
  failure = undefined;
  throw error;
}

/**
 * A JavaScript function that C may call, for the life of the process. It only records or answers: it frees nothing and starts
 * nothing. An exception must not cross C: the callback answers `fallback`, and `rethrow` throws it once C has returned.
 */
export function callback(
  name: string,
  result: string,
  args: readonly string[],
  fallback: number,
  body: (...args: number[]) => number,
): number {
  const guarded = (...given: number[]): number => {
    try {
      return body(...given);
    } catch (error) {
      failure ??= error;
      return fallback;
    }
  };
  const type = koffi.pointer(koffi.proto(`clearline_${name}`, result, [...args]));
  return Number(koffi.address(koffi.register(guarded, type)));
}

/** Reads `length` bytes that C owns, now. Not by `koffi.decode`: it needs an array type of this length, which koffi keeps for ever. */
export function copyFrom(address: number, length: number): Buffer {
  const bytes = memory(length);
  libc.memcpy(addressOf(bytes), address, length);
  return bytes;
}

/** Throws NetworkError with the system's code when a libc call answered -1. */
export function must(result: number, call: string): number {
  if (result >= 0) return result;
  const code = getSystemErrorName(-errno());
  throw new NetworkError(`The system call ${call} failed: ${code}`, code);
}
