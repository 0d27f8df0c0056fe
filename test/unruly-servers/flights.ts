import { make } from "../../src/pki/x509/test-chain.ts";
import { CONTENT_TYPES, HANDSHAKE_TYPES } from "../../src/wire/numbers.ts";
import { u16, vector8, vector16, vector24 } from "../../src/wire/writer.ts";
import { RETRY } from "../recorded/client-hello/build.ts";
import {
  block,
  type Extension,
  type HelloFields,
  inRecord,
  message,
  NONE,
  type Script,
  serverHello,
  Tls13,
  X25519,
} from "./scripted-server.ts";

/** What a server of TLS 1.3 says. */

export const VERSION_13: Extension = [43, u16(0x0304)];
export const share = (key: Uint8Array, group = X25519): Extension => [51, Buffer.concat([u16(group), vector16(key)])];

/** A ServerHello of TLS 1.3, which answers the client's as it should but for these fields. */
export function modern(
  fields: HelloFields,
  extensions: (own: Extension) => readonly Extension[] = (own) => [VERSION_13, own],
): Script {
  const own = share(new Tls13().share);
  return [
    ({ sessionId }) => inRecord(serverHello({ suite: 0x1301, sessionId, extensions: extensions(own), ...fields })),
  ];
}

/** The same, and behind it what only the keys can read. */
export function encrypted(...flight: readonly (Buffer | ((keys: Tls13) => Buffer))[]): Script {
  return [
    (client) => {
      const keys = new Tls13();
      const extensions = [VERSION_13, share(keys.share)];
      const hello = serverHello({ suite: 0x1301, sessionId: client.sessionId, extensions });
      keys.begin(client, hello);
      const parts = flight.map((part) =>
        typeof part === "function" ? part(keys) : keys.encrypt(CONTENT_TYPES.handshake, part),
      );
      return Buffer.concat([inRecord(hello), ...parts]);
    },
  ];
}

export const retry =
  (...extensions: readonly Extension[]) =>
  (client: { readonly sessionId: Buffer }): Buffer =>
    inRecord(
      serverHello({
        suite: 0x1301,
        random: RETRY,
        sessionId: client.sessionId,
        extensions: [VERSION_13, ...extensions],
      }),
    );
export const cookie: Extension = [44, vector16(Buffer.from("again"))];

export const encryptedExtensions = (...extensions: readonly Extension[]) => message(8, block(extensions));
const LEAF = (await make({ subject: "CN=unruly.test" })).der;
export const certificate = (entry: readonly Extension[], context: Buffer = NONE) =>
  message(HANDSHAKE_TYPES.certificate, vector8(context), vector24(vector24(LEAF), block(entry)));
export const signature = (scheme: number) =>
  message(HANDSHAKE_TYPES.certificate_verify, u16(scheme), vector16(Buffer.alloc(70)));
export const FINISHED = message(HANDSHAKE_TYPES.finished, Buffer.alloc(32));

/** A HelloRetryRequest that is right but for these fields and extensions. */
export const retryWith = (fields: HelloFields, ...extensions: readonly Extension[]): Script => [
  ({ sessionId }) => inRecord(serverHello({ suite: 0x1301, random: RETRY, sessionId, extensions, ...fields })),
];
