import ipaddr from "ipaddr.js";

/** A host in the form in which hosts are compared: a lower-case name without trailing dot, or an address in canonical text. */
export type Host =
  | { readonly kind: "name"; readonly text: string }
  /** IPv6 as RFC 5952 writes it, without brackets. */
  | { readonly kind: "address"; readonly text: string };

const MAX_NAME = 255;

/**
 * Reads a host name (A-labels) or an IPv4 or IPv6 literal; undefined: it is neither. Policy compares hosts as text, so a
 * NUL, a space or a byte beyond ASCII is never accepted. Underscores are, because names in use have them.
 */
export function readHost(text: string): Host | undefined {
  if (text.length > MAX_NAME) return undefined;
  const lower = text.toLowerCase();
  const address = readAddress(lower);
  if (address) return { kind: "address", text: address };
  const name = lower.endsWith(".") ? lower.slice(0, -1) : lower;
  return name.split(".").every((label) => /^[a-z0-9_-]{1,63}$/.test(label)) ? { kind: "name", text: name } : undefined;
}

function readAddress(text: string): string | undefined {
  const literal = text.replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  // Test the pattern first: the library throws and catches for other text, which costs more than reading the whole hello.
  if (/^[0-9.]+$/.test(literal) && ipaddr.IPv4.isValidFourPartDecimal(literal)) return literal;
  if (!/^[0-9a-f:.]+$/.test(literal) || !ipaddr.IPv6.isValid(literal)) return undefined;
  return ipaddr.IPv6.parse(literal).toRFC5952String();
}
