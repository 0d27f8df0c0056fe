import { isDeepStrictEqual } from "node:util";
import type { Session } from "./record.ts";

/** The most texts and certificates that are remembered, and the longest text in characters: peers choose what is in them. */
const [TEXTS, CERTIFICATES, LONGEST] = [10_000, 2_000, 256];

/**
 * Keeps once what many records have alike. Workers send copies, so that ten thousand sessions with one server would have ten thousand
 * copies of its record, and of each reason and suite: 2.5 KiB a session, not 1.1.
 */
export class Interning {
  readonly #texts = new Map<string, string>();
  readonly #facts = new Map<string, NonNullable<Session["facts"]>>();
  readonly #certificates = new Map<string, NonNullable<Session["certificate"]>>();

  /** The same record, or part of one. What it is made of may be replaced by something equal. */
  share<Part extends Partial<Session>>(part: Part): Part {
    const shared: { -readonly [Key in keyof Session]?: Session[Key] } = this.#shareTexts(part);
    const { certificate, presented, clientLeg, serverLeg, facts } = part;
    if (certificate) shared.certificate = this.#shareCertificate(certificate);
    if (presented) shared.presented = this.#shareTexts(presented);
    if (clientLeg) shared.clientLeg = this.#shareTexts(clientLeg);
    if (serverLeg) shared.serverLeg = this.#shareTexts(serverLeg);
    if (facts) shared.facts = this.#shareFacts(facts);
    return shared as Part;
  }

  #shareTexts<Part extends object>(part: Part): Part {
    const copy = { ...part } as Record<string, unknown>;
    for (const key in copy) {
      const value = copy[key];
      if (typeof value === "string" && key !== "id") copy[key] = this.#text(value);
    }
    return copy as Part;
  }

  #text(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (text.length > LONGEST) return text;
    if (this.#texts.size === TEXTS) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }

  /** Most clients offer what others offer. */
  #shareFacts(facts: NonNullable<Session["facts"]>): NonNullable<Session["facts"]> {
    const key = JSON.stringify(facts);
    const known = this.#facts.get(key);
    if (known || key.length > 2 * LONGEST) return known ?? facts;
    if (this.#facts.size === CERTIFICATES) this.#facts.clear();
    this.#facts.set(key, facts);
    return facts;
  }

  #shareCertificate(certificate: NonNullable<Session["certificate"]>): NonNullable<Session["certificate"]> {
    const known = this.#certificates.get(certificate.sha256);
    // The same certificate may have other faults for another host.
    if (known && isDeepStrictEqual(known, certificate)) return known;
    if (this.#certificates.size === CERTIFICATES) this.#certificates.clear();
    this.#certificates.set(certificate.sha256, certificate);
    return certificate;
  }
}
