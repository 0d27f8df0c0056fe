import { UNTAGGED } from "../policy/conditions.ts";
import { REVOCATION_FAULTS } from "../policy/facts.ts";
import { FEEDS, feedRow } from "./feed.ts";
import { type HostPort, isLoopbackHost, reaches, textOf } from "./formats.ts";
import { LISTENERS, type ListenerConfig, listenerRow } from "./listener.ts";
import { type ListeningPlace, listeningPlaces } from "./listening.ts";
import type { Parts } from "./parts.ts";
import { BUILT_IN_NAMES, certificateCondition, type RuleConfig } from "./policy-section.ts";
import { type Problem, show } from "./problem.ts";
import type { Located, Row } from "./row.ts";
import { type RealFolders, sharedFiles } from "./shared-files.ts";
import { TOOLS, toolRow } from "./tool.ts";

/** Conflicts between values that are each valid alone. */
export function conflictsIn(parts: Parts, folders: RealFolders): Problem[] {
  const { listeners, tools, feeds, rules } = parts;
  const places = allPlaces(parts);
  return [
    ...[listeners, rules, feeds, tools].flatMap(({ names }) => repeatedNames(names)),
    ...sharedAddresses(places),
    ...connectionsToItself(parts, places),
    ...conflictsOfRows(parts),
    ...sharedInterfaces(parts),
    ...sharedFiles(parts, folders),
    ...alpnTooLate(rules.entries),
    ...unknownNames(rules.entries, "listener", conditionValues("listener"), listeners.names),
    ...unknownNames(rules.entries, "tool", toolsOf, tools.names),
    ...unknownNames(rules.entries, "VLAN of a bridge", conditionValues("vlan"), vlanNames(listeners.entries)),
    ...unknownNames(feeds.entries, "rule", rulesOf, [...rules.names, ...BUILT_IN_NAMES.map((value) => ({ value }))]),
    ...faultsNotChecked(parts),
    ...sharedStoreWithoutCa(parts),
    ...consoleInTheOpen(parts),
  ];
}

/** Whoever sees a token can use it. */
function consoleInTheOpen({ console: api }: Parts): Problem[] {
  if (!api) return [];
  const { address, tls, plainHttp } = api;
  if (tls) {
    const [given, missing] = tls.certificate === undefined ? ["key", "certificate"] : ["certificate", "key"];
    if ((tls.certificate === undefined) !== (tls.key === undefined))
      return [{ path: "console.tls", says: `has ${given} but no ${missing}` }];
    return tls.certificate !== undefined && tls.names
      ? [
          {
            path: "console.tls.names",
            says: "is for certificates that the primary CA signs; remove it, or certificate and key",
          },
        ]
      : [];
  }
  if (plainHttp || isLoopbackHost(address.host)) return [];
  const says = `is ${textOf(address)}, where tokens would cross the network unencrypted. Set console.tls: {}, or console.plainHttp: true behind a proxy that speaks TLS`;
  return [{ path: "console.address", says }];
}

function repeatedNames(names: readonly Located<string>[]): Problem[] {
  const first = new Map<string, string>();
  return names.flatMap(({ path, value: name }) => {
    const earlier = first.get(name);
    if (earlier === undefined) first.set(name, path);
    return earlier === undefined
      ? []
      : [{ path: `${path}.name`, says: `is ${show(name)}, already the name of ${earlier}` }];
  });
}

function allPlaces({ console: api, listeners, tools, feeds }: Parts): ListeningPlace[] {
  const own = api && { path: "console.address", owner: "the console", address: api.address, required: true };
  return [
    ...(own ? [own] : []),
    ...listeningPlaces({ listeners: listeners.entries, tools: tools.entries, feeds: feeds.entries }),
  ];
}

function sharedAddresses(places: readonly ListeningPlace[]): Problem[] {
  const first = new Map<string, string>();
  return places.flatMap(({ path, owner, address }) => {
    const place = textOf({ ...address, host: address.host === "localhost" ? "127.0.0.1" : address.host });
    const earlier = first.get(place);
    if (earlier === undefined) first.set(place, owner);
    return earlier === undefined ? [] : [{ path, says: `is ${textOf(address)}, where ${earlier} already listens` }];
  });
}

/** A tool or a server at one of the node's own addresses would get its sessions again and again. */
function connectionsToItself({ tools, listeners }: Parts, places: readonly ListeningPlace[]): Problem[] {
  const listenerAt = ({ host, port }: HostPort) =>
    places.find(({ address }) => address.port === port && reaches(host, address.host));
  const targets = [
    ...listeners.entries.flatMap((listener) => targetsOf(listener, listenerRow(listener.value))),
    ...tools.entries.flatMap((tool) => targetsOf(tool, toolRow(tool.value))),
  ];
  return targets.flatMap(({ path, address }) => {
    const own = listenerAt(address);
    if (own === undefined) return [];
    const says = `is ${textOf(address)}, where ${own.owner} listens: the node would connect to itself`;
    return [{ path, says }];
  });
}

function targetsOf<Value>({ path, value }: Located<Value>, { connectsTo }: Row<Value>) {
  return (connectsTo?.(value) ?? []).map(({ key, address }) => ({ path: `${path}.${key}`, address }));
}

function conflictsOfRows({ listeners, tools, feeds }: Parts): Problem[] {
  return [
    ...conflictsOf(listeners.entries, LISTENERS, ({ mode }) => mode),
    ...conflictsOf(tools.entries, TOOLS, ({ kind }) => kind),
    ...conflictsOf(feeds.entries, FEEDS, ({ kind }) => kind),
  ];
}

/** What the rows of a table find in the entries of their kind. */
function conflictsOf<Value, Kind extends string>(
  entries: readonly Located<Value>[],
  table: Readonly<Record<Kind, Row<Value>>>,
  kindOf: (value: Value) => Kind,
): Problem[] {
  return Object.entries<Row<Value>>(table).flatMap(([kind, row]) => {
    const own = entries.filter(({ value }) => kindOf(value) === kind);
    const within = own.flatMap((entry) =>
      (row.conflicts?.(entry.value) ?? []).map(({ path, says }) => ({ path: `${entry.path}.${path}`, says })),
    );
    return [...within, ...(row.conflictsAmong?.(own) ?? [])];
  });
}

/** An interface carries the sessions of one listener or tool, and a feed must not send its copies into such a path. */
function sharedInterfaces({ listeners, tools, feeds }: Parts): Problem[] {
  const first = new Map<string, string>();
  const used = [
    ...listeners.entries.flatMap((listener) => interfacesOf(listener, listenerRow(listener.value))),
    ...tools.entries.flatMap((tool) => interfacesOf(tool, toolRow(tool.value))),
    ...feeds.entries.flatMap((feed) => interfacesOf(feed, feedRow(feed.value))),
  ];
  return used.flatMap(({ path, name, inPath }) => {
    const earlier = first.get(name);
    if (earlier === undefined && inPath) first.set(name, path);
    if (earlier === undefined) return [];
    const why = inPath ? "" : ": the plaintext would leave there";
    return [{ path, says: `is ${show(name)}, already used as ${earlier}${why}` }];
  });
}

function interfacesOf<Value>({ path, value }: Located<Value>, { interfaces }: Row<Value>) {
  return (interfaces?.(value) ?? []).map(({ key, ...rest }) => ({ path: `${path}.${key}`, ...rest }));
}

/** HTTP/2 is negotiated before the server's certificate is seen. */
function alpnTooLate(rules: readonly Located<RuleConfig>[]): Problem[] {
  return rules.flatMap(({ path, value: { alpn, match } }) => {
    const condition = certificateCondition(match);
    if (alpn === undefined || condition === undefined) return [];
    const says = `has no effect: ${condition} is known only with the server's certificate, after HTTP/2 was negotiated; remove it`;
    return [{ path: `${path}.alpn`, says }];
  });
}

/** The names that an entry refers to, with their paths in it. */
type References<Value> = (value: Value) => readonly Located<string>[];

/** A misspelt name would have no effect, and nobody would notice. */
function unknownNames<Value>(
  entries: readonly Located<Value>[],
  what: string,
  references: References<Value>,
  known: readonly { readonly value: string }[],
): Problem[] {
  const names = new Set(known.map(({ value }) => value));
  return entries.flatMap((entry) =>
    references(entry.value)
      .filter(({ value }) => !names.has(value))
      .map(({ path, value }) => ({
        path: `${entry.path}.${path}`,
        says: `is ${show(value)}, but no ${what} has this name`,
      })),
  );
}

/** The values that the condition `vlan` may have. */
function vlanNames(listeners: readonly Located<ListenerConfig>[]): { readonly value: string }[] {
  const configured = listeners.flatMap(({ value }) => ("vlans" in value ? value.vlans : []));
  const names = configured.map(({ id, outer }) => (outer === undefined ? `${id}` : `${outer}/${id}`));
  return [UNTAGGED, ...names].map((value) => ({ value }));
}

const toolsOf: References<RuleConfig> = ({ tools = [] }) =>
  tools.map((value, index) => ({ path: `tools[${index}]`, value }));

const rulesOf: References<Parts["feeds"]["entries"][number]["value"]> = (feed) =>
  ("rules" in feed ? (feed.rules ?? []) : []).map((value, index) => ({ path: `rules[${index}]`, value }));

/** The values of one condition of a rule. It takes one value or a list: the path of a single one is right for both. */
function conditionValues(name: "listener" | "vlan" | "fault"): References<RuleConfig> {
  return ({ match: { [name]: values = [] } }) =>
    values.map((value, index) => ({
      path: `match.${name}${values.length > 1 ? `[${index}]` : ""}`,
      value: String(value),
    }));
}

/** A rule for a fault that is never found would never match, and nobody would notice. */
function faultsNotChecked({ revocation, rules }: Parts): Problem[] {
  if (revocation === undefined || revocation.ocsp !== "off" || revocation.crl !== "off") return [];
  return rules.entries.flatMap((rule) =>
    conditionValues("fault")(rule.value)
      .filter(({ value }) => REVOCATION_FAULTS.some((fault) => fault === value))
      .map(({ path, value }) => ({
        path: `${rule.path}.${path}`,
        says: `is ${show(value)}, but policy.revocation has both ocsp and crl off: it would never match`,
      })),
  );
}

/** Nodes need a secret in common. With one of their own they may have CAs that they made, which follow each other. */
function sharedStoreWithoutCa({ resumption, signing }: Parts): Problem[] {
  if (resumption?.shared === undefined || resumption.secret !== undefined) return [];
  if (signing === undefined || signing.primary !== undefined) return [];
  const says =
    "is set, but neither resumption.secret nor signing.primary is: nodes that share a store need a secret, or the same CA";
  return [{ path: "resumption.shared", says }];
}
