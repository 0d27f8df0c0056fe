import type { ClientHello } from "../wire/client-hello.ts";
import { EXTENSIONS } from "../wire/numbers.ts";
import { numberOfObject } from "./text-numbers.ts";

/**
 * Stands for all that decides how a session can be decrypted: the versions that policy allows, the largest group over integers, and what a
 * hello offers, without its host and its protocols. Clients repeat themselves, and the same list is the same object
 * (`wire/recent-lists.ts`).
 */
export function shapeOf(hello: ClientHello, allowed: object, dhBits: number): string {
  const { versions, cipherSuites, supportedGroups, keyShareGroups, signatureAlgorithms, pskIdentity } = hello;
  const flags = `${hello.extensions.includes(EXTENSIONS.post_handshake_auth)} ${pskIdentity !== undefined}`;
  const lists = `${numberOfObject(versions)} ${numberOfObject(cipherSuites)} ${numberOfObject(supportedGroups)}`;
  const more = `${numberOfObject(keyShareGroups)} ${numberOfObject(signatureAlgorithms)}`;
  return `${numberOfObject(allowed)} ${dhBits} ${flags} ${lists} ${more}`;
}
