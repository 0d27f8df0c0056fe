export interface HostSet {
  readonly size: number;
  /** The entry, as it was written, that matches the host; the most specific one when several do. The host is canonical. */
  find(host: string): string | undefined;
}

/**
 * Makes a set of host names: "example.com" matches itself only, "*.example.com" every subdomain at any depth but not
 * itself. A look-up walks the host's labels, however many entries there are. Entries that `readHostEntry` refuses are left out.
 */
export function createHostSet(entries: Iterable<string>): HostSet {
  const exact = new Map<string, string>();
  const below = new Map<string, string>();
  for (const entry of entries) {
    const pattern = readHostEntry(entry);
    if (pattern !== undefined) (pattern.subdomains ? below : exact).set(pattern.host, entry);
  }
  return {
    size: exact.size + below.size,
    find(host) {
      const itself = exact.get(host);
      if (itself !== undefined || below.size === 0) return itself;
      // Only what follows a dot is ever compared: "evilexample.com" has no suffix "example.com" here.
      for (let dot = host.indexOf("."); dot > 0; dot = host.indexOf(".", dot + 1)) {
        const entry = below.get(host.slice(dot + 1));
        if (entry !== undefined) return entry;
      }
      return undefined;
    },
  };
}

/** Reads an entry of a host list. Undefined: it is neither a host name nor "*." and a host name. */
export function readHostEntry(entry: string): { readonly host: string; readonly subdomains: boolean } | undefined {
  const subdomains = entry.startsWith("*.");
  const host = canonicalHost(subdomains ? entry.slice(2) : entry);
  return isHostName(host) ? { host, subdomains } : undefined;
}

/** Underscores are not allowed in host names (RFC 1123, section 2.1), but services are named so; an all-digit last label is an address. */
const HOST_NAME =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*(?!\d+$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

function isHostName(host: string): boolean {
  return HOST_NAME.test(host);
}

/** The one spelling that is compared: lower case, A-labels (RFC 5890), no trailing dot. What is no host name stays what it is. */
export function canonicalHost(host: string): string {
  const lower = (isAscii(host) ? host : toALabels(host)).toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

/** The URL standard's host parser is the one IDNA implementation every runtime has. Anything it would read as more than a host is kept from it. */
function toALabels(host: string): string {
  if (/[\s/?#@:\\%[\]]/.test(host)) return host;
  return URL.parse(`http://${host}/`)?.hostname ?? host;
}
