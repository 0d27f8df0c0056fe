import { type AddressSet, blocksOf, createAddressSet } from "./address-set.ts";
import { createHostSet, type HostSet, readHostEntry } from "./host-set.ts";

/** A bypass that somebody adds while the node runs, with an end. Times in ms since the epoch. */
export interface Bypass {
  /** Eight hex digits. */
  readonly id: string;
  /** A host, a wildcard, an address, a subnet or a range, in the form in which it is compared. */
  readonly entry: string;
  readonly author: string;
  readonly comment: string;
  readonly made: number;
  /** null: it has no end. */
  readonly expires: number | null;
}

/** The bypasses in force. They change while sessions are judged, without a new policy. */
export interface Bypasses {
  readonly hosts: HostSet<Bypass>;
  readonly addresses: AddressSet<Bypass>;
}

export class BypassTable implements Bypasses {
  #hosts: HostSet<Bypass> = createHostSet<Bypass>([]);
  #addresses: AddressSet<Bypass> = createAddressSet<Bypass>([]);

  /** The hosts of the moment: do not keep the answer. */
  get hosts(): HostSet<Bypass> {
    return this.#hosts;
  }

  get addresses(): AddressSet<Bypass> {
    return this.#addresses;
  }

  replace(bypasses: readonly Bypass[]): void {
    const entries = bypasses.map((bypass) => [bypass.entry, bypass] as const);
    this.#hosts = createHostSet(entries);
    this.#addresses = createAddressSet(entries);
  }
}

/** A policy that nobody has given a bypass. */
export const NO_BYPASSES: Bypasses = new BypassTable();

/** The form in which entries are compared and shown. Undefined: neither a host, a wildcard, an address, a subnet nor a range. */
export function readBypassEntry(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed.length > 300) return undefined;
  const blocks = blocksOf(trimmed);
  if (blocks) return blocks.length === 1 ? blocks[0]!.text : trimmed.replace(/\s+/g, "").toLowerCase();
  const host = readHostEntry(trimmed);
  return host && `${host.subdomains ? "*." : ""}${host.host}`;
}

export function isAddressBypass({ entry }: Pick<Bypass, "entry">): boolean {
  return blocksOf(entry) !== undefined;
}

/** An ID, or a bypass that a preview adds. */
const RULE = /^bypass ([0-9a-f]{8}|preview-\d{1,3})$/;

/** The name that explanations and records show as the rule. No rule of the configuration has such a name. */
export function ruleOfBypass({ id }: Pick<Bypass, "id">): string {
  return `bypass ${id}`;
}

/** The ID of the bypass that this rule is; undefined: it is none. */
export function bypassOfRule(rule: string): string | undefined {
  return RULE.exec(rule)?.[1];
}

/** Why a flow is bypassed: one sentence, with the comment and the end. */
export function reasonOfBypass({ entry, author, comment, expires }: Bypass): string {
  const end = expires === null ? "without an end" : `until ${utc(expires)}`;
  return `${author} bypasses ${entry} ${end}: ${comment}`;
}

/** "2026-11-29 12:00:05 UTC" */
function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}
