import { RecentAnswers } from "../recent-answers.ts";
import { suitesFor } from "../ssl3/suites.ts";
import { VERSIONS } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { groupById, groupWithin } from "../wire/groups.ts";
import { SIGNALLING_SUITES } from "../wire/numbers.ts";
import { suiteById } from "../wire/suites.ts";
import { shapeOf } from "./hello-shape.ts";
import { highestShared, offerFor, type VersionRange } from "./offer.ts";

/**
 * Why no TLS of this client can be decrypted, whatever its server answers: a sentence without its end. Undefined: it can. `keyHeld`:
 * the node has the server's own key, whose kind is not looked at here.
 */
export function whyUndecryptable(hello: ClientHello, allowed: Allowed, keyHeld: boolean): string | undefined {
  const shape = shapeOf(hello, allowed.versions, allowed.dhBits);
  return recent.take(`${keyHeld} ${shape}`, () => judge(hello, allowed, keyHeld));
}

interface Allowed {
  readonly versions: VersionRange;
  readonly dhBits: number;
}

const recent = new RecentAnswers<string | undefined>();

/** Nothing else of the hello may decide than what `shapeOf` has. */
function judge(hello: ClientHello, { versions, dhBits }: Allowed, keyHeld: boolean): string | undefined {
  if (highestShared(hello, versions) === VERSIONS.SSLv3) {
    const known = suitesFor(versions.ssl3Suites ?? "all").some(({ id }) => hello.cipherSuites.includes(id));
    return known ? undefined : "The client offers no cipher suite that this node may use";
  }
  const offer = offerFor(hello, versions, dhBits);
  if (offer.kind === "failed") return offer.reason;
  if (canUse12(hello, offer.minVersion !== "TLSv1.3", keyHeld)) return undefined;
  if (offer.maxVersion !== "TLSv1.3") return "The client verifies no signature that this node can make";
  return whyNot13(hello, keyHeld, dhBits);
}

/** Whether the client offers suites, groups or a pre-shared key that the node cannot offer to the server. */
export function leavesOut({ cipherSuites, supportedGroups, pskIdentity }: ClientHello): boolean {
  const signals: readonly number[] = Object.values(SIGNALLING_SUITES);
  return (
    pskIdentity !== undefined ||
    cipherSuites.some((id) => !suiteById(id) && !signals.includes(id)) ||
    supportedGroups.some((id) => !groupById(id))
  );
}

/** TLS 1.2 and below work with one of the suites. */
function canUse12({ cipherSuites, signatureAlgorithms }: ClientHello, offered: boolean, keyHeld: boolean): boolean {
  const suites = cipherSuites.map(suiteById).filter((suite) => suite && suite.versions !== "1.3");
  if (!offered || suites.length === 0) return false;
  // With an exchange by RSA the server signs nothing; without the extension the client takes what TLS 1.2 takes for granted.
  if (keyHeld || signatureAlgorithms.length === 0 || suites.some((suite) => suite?.exchange === "rsa")) return true;
  return signatureAlgorithms.some((id) => SIGNED_1_2.includes(id));
}

function whyNot13(hello: ClientHello, keyHeld: boolean, dhBits: number): string | undefined {
  const { pskIdentity, signatureAlgorithms, supportedGroups } = hello;
  // RFC 8446, section 9.2: without both extensions a client must come with a pre-shared key, and takes no certificate.
  if (signatureAlgorithms.length === 0)
    return pskIdentity ? "The client accepts only a pre-shared key, which this node does not have" : undefined;
  const groups = supportedGroups.map(groupWithin(dhBits)).filter((group) => group && group.versions !== "1.2-");
  if (supportedGroups.length > 0 && groups.length === 0) return "The client offers no group that this node may use";
  if (supportedGroups.length === 0 && pskIdentity)
    return "The client accepts only a pre-shared key, which this node does not have";
  const signs = keyHeld || signatureAlgorithms.some((id) => SIGNED_1_3.includes(id));
  return signs ? undefined : "The client verifies no signature that this node can make";
}

/** What the node signs with the keys that it issues certificates for, in TLS 1.3: see `pki/issue/leaf-kind.ts`. */
const SIGNED_1_3: readonly number[] = [
  ...[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b],
  ...[0x081a, 0x081b, 0x081c, 0x0904, 0x0905, 0x0906],
];
/** In TLS 1.2 also RSASSA-PKCS1-v1_5, and ECDSA with any hash: the scheme does not name the curve. */
const SIGNED_1_2: readonly number[] = [
  ...[0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0807, 0x0808, 0x0809, 0x080a, 0x080b],
  ...[0x0401, 0x0501, 0x0601, 0x0301, 0x0201, 0x0303, 0x0203],
];
