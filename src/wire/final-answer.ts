import { PeerError } from "../errors.ts";

/**
 * Makes a reader's answer final. After an answer other than "more", or a PeerError, every later push gets the same, and
 * the reader sees no more bytes. A push without bytes repeats the last answer.
 */
export function finalAnswer<Answer extends { readonly kind: string }>(
  read: (bytes: Uint8Array) => Answer | { readonly kind: "more" },
): (bytes: Uint8Array) => Answer | { readonly kind: "more" } {
  let final: Answer | { readonly kind: "more" } | PeerError = { kind: "more" };
  return (bytes) => {
    if (final instanceof PeerError) throw final;
    if (final.kind !== "more" || bytes.length === 0) return final;
    try {
      final = read(bytes);
    } catch (error) {
      if (error instanceof PeerError) final = error;
      throw error;
    }
    return final;
  };
}
