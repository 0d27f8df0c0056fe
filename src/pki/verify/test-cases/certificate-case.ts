import type { KeyUse } from "../strictness.ts";
import { type Wanted, type Written, write } from "./writing.ts";

/** One case: what a server shows, what the node finds, what browsers do. */
export interface CertificateCase {
  readonly what: string;
  /** The case of the x509-limbo collection that it is like. */
  readonly limbo?: string;
  readonly shown: () => Shown;
  /** OpenSSL's codes. None: the certificate for the client is signed by the primary CA. */
  readonly found: readonly string[];
  /** "differ": they do not agree, or it depends on their version. */
  readonly browsers: "accept" | "refuse" | "differ";
  /** Why the node does it otherwise on purpose, or as some of them do. */
  readonly because?: string;
}

export interface Shown {
  /** The server's own certificate first. */
  readonly chain: readonly Written[];
  readonly trusted: readonly Written[];
  /** "www.example.com" when absent. */
  readonly host?: string;
  readonly use?: KeyUse;
}

export const ROOT = write({ ca: true, subject: "Root" });
export const STRANGER = write({ ca: true, subject: "Stranger" });

/** A server's certificate of the root. */
export const leafOf = (wanted: Wanted = {}): (() => Shown) => {
  return () => ({ chain: [write({ issuer: ROOT, ...wanted })], trusted: [ROOT] });
};

/** A server's certificate below an intermediate of the root. */
export const below = (intermediate: Wanted, leaf: Wanted = {}, host?: string): (() => Shown) => {
  return () => {
    const ca = write({ issuer: ROOT, ca: true, subject: "Intermediate", ...intermediate });
    return { chain: [write({ issuer: ca, ...leaf }), ca], trusted: [ROOT], ...(host !== undefined && { host }) };
  };
};

/** A server's certificate of the root with these names, visited as `host`. */
export const named = (host: string, names: readonly Buffer[], more: Wanted = {}): (() => Shown) => {
  return () => ({ ...leafOf({ names, ...more })(), host });
};

/** Cases in which the node does what browsers do. `limbo`: as in CertificateCase. */
export const accepted = (what: string, limbo: string | undefined, shown: () => Shown): CertificateCase => {
  return { what, ...(limbo && { limbo }), shown, found: [], browsers: "accept" };
};

export const refused = (
  what: string,
  limbo: string | undefined,
  shown: () => Shown,
  found: readonly string[],
): CertificateCase => ({ what, ...(limbo && { limbo }), shown, found, browsers: "refuse" });
