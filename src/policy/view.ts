import { type Address, readAddress } from "./address-set.ts";
import type { CertificateFacts, Facts } from "./facts.ts";
import { canonicalHost } from "./host-set.ts";

/** Facts of which any may still be missing: a dry run knows less than a flow. */
export type KnownFacts = { readonly [Name in keyof Facts]?: Facts[Name] | undefined };

/** The host names a flow is judged by. */
interface Hosts {
  readonly names: readonly string[];
  /** More names may come. */
  readonly open: boolean;
}

/** Facts, read once for all the conditions of an evaluation: addresses as numbers, hosts in the one spelling that is compared. */
export interface View {
  readonly listener: string | undefined;
  readonly clientAddress: Address | null | undefined;
  readonly clientPort: number | undefined;
  readonly serverAddress: Address | null | undefined;
  readonly serverPort: number | null | undefined;
  readonly hosts: Hosts;
  /** Host entries are judged in the certificate phase: the flow began in plaintext, or names no host itself. */
  readonly late: boolean;
  readonly certificate: CertificateFacts | undefined;
}

/** Reads the facts. Once `settled`, a host that is not known is absent: the ClientHello has been seen. */
export function viewOf(facts: KnownFacts, settled: boolean): View {
  const { client, server, certificate } = facts;
  const inputs = [facts.sni, facts.connectHost];
  const open = !settled && inputs.includes(undefined);
  const named = inputs.flatMap((input) => hostNameOf(input));
  const late = facts.upgraded === true || (named.length === 0 && !open);
  return {
    listener: facts.listener,
    clientAddress: addressOf(client),
    clientPort: client?.port,
    serverAddress: addressOf(server),
    serverPort: server === null ? null : server?.port,
    hosts: named.length > 0 || open ? { names: named, open } : hostsOf(certificate),
    late,
    certificate,
  };
}

function addressOf(endpoint: { readonly address: string } | null | undefined): Address | null | undefined {
  if (endpoint === undefined || endpoint === null) return endpoint;
  const [literal = ""] = endpoint.address.split("%"); // fe80::1%eth0: the zone is this node's own name for a link
  return readAddress(literal) ?? null;
}

/** An address literal is no host name: CONNECT 10.0.0.1:443 names no host. */
function hostNameOf(input: string | null | undefined): readonly string[] {
  if (input === undefined || input === null) return [];
  const host = canonicalHost(input);
  return host === "" || readAddress(host.replace(/^\[|\]$/g, "")) ? [] : [host];
}

/** With no host of its own, a flow is judged by the names its server's certificate gives: "*.example.com" is below example.com. */
function hostsOf(certificate: CertificateFacts | undefined): Hosts {
  if (certificate === undefined) return { names: [], open: true };
  return { names: certificate.names.map(canonicalHost), open: false };
}
