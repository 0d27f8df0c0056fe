/** A set of host names, each with a value. */
export interface HostSet<Value> {
  readonly size: number;
  /** The values of every entry that matches the host, the most specific entry's first. The host is canonical. */
  find(host: string): readonly Value[];
  /**
   * The values of every entry that matches a host which a name in a certificate is for. Beside those of `find`, for "*.example.com"
   * the entries for a host directly below example.com.
   */
  reach(name: string): readonly Value[];
  /** The entries for a host directly below this name, or `most` of them. */
  below(parent: string, most?: number): readonly string[];
}

/**
 * Makes a set of host names: "example.com" matches itself only, "*.example.com" every subdomain at any depth but not
 * itself. A look-up costs one step for each label of the host. Entries that `readHostEntry` refuses are left out.
 */
export function createHostSet<Value>(entries: Iterable<readonly [entry: string, value: Value]>): HostSet<Value> {
  const exact = new Map<string, Value[]>();
  const subdomains = new Map<string, Value[]>();
  let size = 0;
  for (const [entry, value] of entries) {
    const pattern = readHostEntry(entry);
    if (pattern === undefined) continue;
    const table = pattern.subdomains ? subdomains : exact;
    const values = table.get(pattern.host);
    if (values === undefined) table.set(pattern.host, [value]);
    else values.push(value);
    size += 1;
  }
  const find = (host: string) => {
    const found = [...(exact.get(host) ?? [])];
    // Only suffixes after a dot are compared: "evilexample.com" does not end in "example.com" here.
    for (let dot = host.indexOf("."); dot > 0 && subdomains.size > 0; dot = host.indexOf(".", dot + 1)) {
      found.push(...(subdomains.get(host.slice(dot + 1)) ?? []));
    }
    return found;
  };
  let children: ReadonlyMap<string, readonly string[]> | undefined;
  const below = (parent: string, most?: number) => {
    children ??= groupByParent(exact.keys());
    return (children.get(parent) ?? []).slice(0, most);
  };
  return {
    size,
    find,
    reach: (name) =>
      name.startsWith("*.")
        ? [...find(name), ...below(name.slice(2)).flatMap((host) => exact.get(host) ?? [])]
        : find(name),
    below,
  };
}

/** The hosts by the name above them. Made when a wildcard is first asked for: most sets never are. */
function groupByParent(hosts: Iterable<string>): Map<string, string[]> {
  const children = new Map<string, string[]>();
  for (const host of hosts) {
    const dot = host.indexOf(".");
    if (dot < 0) continue;
    const parent = host.slice(dot + 1);
    const known = children.get(parent);
    if (known) known.push(host);
    else children.set(parent, [host]);
  }
  return children;
}

/** Reads a host entry. Undefined: it is neither a host name nor "*." with a host name. */
export function readHostEntry(entry: string): { readonly host: string; readonly subdomains: boolean } | undefined {
  const subdomains = entry.startsWith("*.");
  const host = canonicalHost(subdomains ? entry.slice(2) : entry);
  return isHostName(host) ? { host, subdomains } : undefined;
}

/** RFC 1123, section 2.1, forbids underscores, but names of services have them. A last label of digits only is an address. */
const HOST_NAME =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*(?!\d+$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

function isHostName(host: string): boolean {
  return HOST_NAME.test(host);
}

/** The form in which hosts are compared: lower case, A-labels (RFC 5890), no trailing dot. Other text stays as it is. */
export function canonicalHost(host: string): string {
  const lower = (isAscii(host) ? host : toALabels(host)).toLowerCase();
  return lower.endsWith(".") ? lower.slice(0, -1) : lower;
}

function isAscii(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) if (text.charCodeAt(at) > 0x7f) return false;
  return true;
}

/** The URL parser contains the only IDNA implementation of the runtime. Text that it would read as more than a host is not given to it. */
function toALabels(host: string): string {
  if (/[\s/?#@:\\%[\]]/.test(host)) return host;
  return URL.parse(`http://${host}/`)?.hostname ?? host;
}
