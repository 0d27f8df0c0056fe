import { readAddress } from "./address-set.ts";
import type { Facts, Verdict } from "./facts.ts";
import { canonicalHost } from "./host-set.ts";
import type { Order } from "./order.ts";

/** A wildcard with more entries below it is left out: what is treated otherwise is likely to be among them. */
const MOST_BELOW = 1_000;
/** Names of one certificate that are judged; the others are left out. */
const MOST_NAMES = 1_000;

/** What must be known of another host for its session to be judged. */
export interface OtherHost {
  readonly clientCertificateDemanded: boolean;
  readonly channelBound: boolean;
  readonly certificateRefused: boolean;
}

type KnownOfHost = Pick<Facts, keyof OtherHost>;

/**
 * Of a certificate's names, those whose sessions the policy would treat as this one: with the same verdict, by the same rule, through
 * the same tools. A client that has a decrypted connection to one host uses it for every host that the certificate is for
 * (RFC 9113, section 9.1.1), so an issued certificate must be for no other. Undefined: all of them.
 */
export function namesAlike(
  order: Order,
  judge: (facts: Facts) => Verdict,
  facts: Facts,
  learnt: (host: string) => OtherHost,
): readonly string[] | undefined {
  const names = facts.certificate?.names ?? [];
  let wanted: Verdict | undefined;
  const isTreatedAlike = (other: Facts): boolean => {
    wanted ??= judge(facts);
    return isSameTreatment(judge(other), wanted);
  };
  // Hosts that the same entries match are judged alike: of thousands of names few differ from the one that was asked for.
  const keyOf = (host: string, { clientCertificateDemanded, channelBound, certificateRefused }: KnownOfHost): string =>
    `${clientCertificateDemanded === true} ${channelBound === true} ${certificateRefused === true} ${order.late.selected(host)}`;
  const own = hostOf(facts);
  const known = new Map<string, boolean>();
  const isAlike = (host: string): boolean => {
    if (host === own) return true;
    if (own !== undefined && known.size === 0) known.set(keyOf(own, facts), true);
    const other = learnt(host);
    const key = keyOf(host, other);
    const before = known.get(key);
    if (before !== undefined) return before;
    const connectHost = facts.connectHost ? host : facts.connectHost;
    const alike = isTreatedAlike({ ...facts, sni: host, connectHost, ...other });
    known.set(key, alike);
    return alike;
  };
  const stays = (name: string): boolean => {
    const host = canonicalHost(name);
    if (readAddress(host)) return !order.readsServer() || isAddressAlike(facts, host, isTreatedAlike);
    if (!host.startsWith("*.")) return isAlike(host);
    const below = order.late.hostsBelow(host.slice(2), MOST_BELOW + 1);
    return below.length <= MOST_BELOW && isAlike(host) && below.every(isAlike);
  };
  const alike = names.slice(0, MOST_NAMES).filter(stays);
  return alike.length === names.length ? undefined : alike;
}

/** The only host by which the session was judged; undefined: the client named none, or two. */
function hostOf({ sni, connectHost }: Facts): string | undefined {
  const host = sni ? canonicalHost(sni) : undefined;
  return connectHost && canonicalHost(connectHost) !== host ? undefined : host;
}

/** Another address of the server's; a client asks for it without SNI. */
function isAddressAlike(facts: Facts, address: string, isTreatedAlike: (other: Facts) => boolean): boolean {
  if (!facts.server || facts.server.address === address) return true;
  return isTreatedAlike({ ...facts, server: { ...facts.server, address } });
}

/** Verdicts of one rule have the same list of tools. */
function isSameTreatment(one: Verdict, other: Verdict): boolean {
  return one.action === other.action && one.rule === other.rule && one.tools === other.tools && one.alpn === other.alpn;
}
