import { type Address, readAddress } from "./address-set.ts";
import type { CertificateFacts, Facts } from "./facts.ts";
import { canonicalHost } from "./host-set.ts";

/** Facts of which any may be missing: `clearline explain` knows less than a flow. */
export type KnownFacts = { readonly [Name in keyof Facts]?: Facts[Name] | undefined };

/** The host names that a flow is judged by. */
interface Hosts {
  readonly names: readonly string[];
  /** More names may become known. */
  readonly open: boolean;
  /**
   * Who says so. "certificate": the server does, and any of the names may be the one that the client means. So the stricter reading
   * counts: a drop or decrypt holds if it may concern one of them, a bypass if it covers all of them.
   */
  readonly from: "client" | "certificate";
}

/** The facts with the forms that conditions compare: addresses as numbers, hosts in canonical form. Made once for each evaluation. */
export interface View extends KnownFacts {
  readonly clientAddress: Address | null | undefined;
  readonly serverAddress: Address | null | undefined;
  readonly hosts: Hosts;
  /** Host conditions are judged in the certificate phase: the flow began in plaintext, or names no host itself. */
  readonly late: boolean;
}

/** The last view: a flow's facts are judged several times in a row. */
let last: { readonly facts: KnownFacts; readonly settled: boolean; readonly view: View } | undefined;

/** The view of facts, which never change. `settled`: the ClientHello has been read, so a host that is not known is absent. */
export function viewOf(facts: KnownFacts, settled: boolean): View {
  if (last?.facts === facts && last.settled === settled) return last.view;
  const view = makeView(facts, settled);
  last = { facts, settled, view };
  return view;
}

function makeView(facts: KnownFacts, settled: boolean): View {
  const { client, server, certificate } = facts;
  const inputs = [facts.sni, facts.connectHost];
  const open = !settled && inputs.includes(undefined);
  const named = [...inputs, facts.requestHost].flatMap((input) => hostNameOf(input));
  const late = facts.upgraded === true || (named.length === 0 && !open);
  return {
    ...facts,
    clientAddress: addressOf(client),
    serverAddress: addressOf(server),
    hosts: named.length > 0 || open ? { names: named, open, from: "client" } : hostsOf(certificate),
    late,
  };
}

/** A flow is judged in several phases: its addresses need not be read in each. What is no address may be of any length, and is not kept. */
const recent = new Map<string, Address>();
const MOST_RECENT = 1_000;

function addressOf(endpoint: { readonly address: string } | null | undefined): Address | null | undefined {
  if (endpoint === undefined || endpoint === null) return endpoint;
  const known = recent.get(endpoint.address);
  if (known) return known;
  const read = readLiteral(endpoint);
  if (!read) return null;
  if (recent.size === MOST_RECENT) recent.clear();
  recent.set(endpoint.address, read);
  return read;
}

function readLiteral(endpoint: { readonly address: string }): Address | null {
  const [literal = ""] = endpoint.address.split("%"); // fe80::1%eth0: the zone names an interface of this node
  return readAddress(literal) ?? null;
}

/** An address literal is not a host name: CONNECT 10.0.0.1:443 names no host. */
function hostNameOf(input: string | null | undefined): readonly string[] {
  if (input === undefined || input === null) return [];
  const host = canonicalHost(input);
  return host === "" || readAddress(host.replace(/^\[|\]$/g, "")) ? [] : [host];
}

/** A flow that names no host is judged by the names in its server's certificate. "*.example.com" counts as a name below example.com. */
function hostsOf(certificate: CertificateFacts | undefined): Hosts {
  if (certificate === undefined) return { names: [], open: true, from: "certificate" };
  return { names: certificate.names.map(canonicalHost).filter(isName), open: false, from: "certificate" };
}

/** Rules for hosts say nothing of addresses. */
function isName(name: string): boolean {
  return readAddress(name) === undefined;
}
