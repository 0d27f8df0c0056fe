import { REVOCATION_FAULTS } from "../policy/facts.ts";
import { VERSIONS } from "../vocabulary.ts";
import { type HostPort, readHostPort } from "./formats.ts";
import { inlineConflicts } from "./inline-conflict.ts";
import { entriesAt, type Problem, pathOf, show, valueAt } from "./problem.ts";
import { certificateCondition, toolConflicts } from "./tool-conflict.ts";

/**
 * What is wrong between two places that may each be right alone. It reads what stands in the file and passes over what has
 * the wrong form, so that these are told together with the errors of single values.
 */
export function conflictsIn(root: unknown): Problem[] {
  return [
    ...repeatedNames(root, ["listeners"]),
    ...repeatedNames(root, ["policy", "rules"]),
    ...repeatedNames(root, ["feeds"]),
    ...repeatedNames(root, ["tools"]),
    ...builtInNames(root),
    ...sharedAddresses(root),
    ...loops(root),
    ...versionsOutOfOrder(root),
    ...unknownListeners(root),
    ...unknownTools(root),
    ...revocationNotAsked(root),
    ...toolLoops(root),
    ...alpnTooLate(root),
    ...toolConflicts(root),
    ...inlineConflicts(root),
    ...nothingInCommon(root),
    ...unknownRules(root),
    ...feedsIntoThePath(root),
    ...marksWithoutPlace(root),
    ...keyForms(root),
    ...storeSecrets(root),
  ];
}

function repeatedNames(root: unknown, list: readonly string[]): Problem[] {
  const first = new Map<unknown, string>();
  return entriesAt(root, list).flatMap(({ keys, value }) => {
    const name = valueAt(value, ["name"]);
    const earlier = first.get(name);
    if (typeof name !== "string") return [];
    if (earlier === undefined) first.set(name, pathOf(keys));
    return earlier === undefined
      ? []
      : [{ path: pathOf([...keys, "name"]), says: `is ${show(name)}, the name of ${earlier} already` }];
  });
}

/** What stands in the place of a rule's name when no rule decided. */
const BUILT_IN = [
  "bypass list",
  "decrypt list",
  "versions",
  "client certificate",
  "missing key",
  "certificate fault",
  "startTls",
  "default",
];

function builtInNames(root: unknown): Problem[] {
  return entriesAt(root, ["policy", "rules"]).flatMap(({ keys, value }) => {
    const name = valueAt(value, ["name"]);
    if (typeof name !== "string" || !BUILT_IN.includes(name)) return [];
    return [{ path: pathOf([...keys, "name"]), says: `is ${show(name)}, which names a part of every policy` }];
  });
}

/** The places that listen, as far as they can be read. The console's default is one of them. */
function listeningPlaces(root: unknown): {
  readonly path: string;
  readonly owner: string;
  readonly address: HostPort;
  readonly server: HostPort | undefined;
}[] {
  const ownConsole = valueAt(root, ["console", "address"]) ?? "127.0.0.1:8484";
  const places = [
    {
      path: "console.address",
      owner: "the console",
      address: endpointOf(ownConsole),
      server: undefined as HostPort | undefined,
    },
  ];
  for (const { keys, value } of entriesAt(root, ["listeners"])) {
    const server = valueAt(value, ["mode"]) === "forward" ? endpointOf(valueAt(value, ["server"])) : undefined;
    places.push({
      path: pathOf([...keys, "address"]),
      owner: pathOf(keys),
      address: endpointOf(valueAt(value, ["address"])),
      server,
    });
  }
  for (const { keys, value } of entriesAt(root, ["feeds"])) {
    if (valueAt(value, ["kind"]) !== "pcap-over-ip") continue;
    const address = endpointOf(valueAt(value, ["address"]));
    places.push({ path: pathOf([...keys, "address"]), owner: pathOf(keys), address, server: undefined });
  }
  for (const { keys, value } of entriesAt(root, ["tools"])) {
    const address = endpointOf(valueAt(value, ["returnAddress"]));
    places.push({ path: pathOf([...keys, "returnAddress"]), owner: pathOf(keys), address, server: undefined });
  }
  return places.flatMap(({ address, ...place }) => (address === undefined ? [] : [{ ...place, address }]));
}

function sharedAddresses(root: unknown): Problem[] {
  const first = new Map<string, string>();
  return listeningPlaces(root).flatMap(({ path, owner, address: { host, port } }) => {
    const place = `${host === "localhost" ? "127.0.0.1" : host}:${port}`;
    const earlier = first.get(place);
    if (earlier === undefined) first.set(place, owner);
    return earlier === undefined ? [] : [{ path, says: `is ${host}:${port}, where ${earlier} listens already` }];
  });
}

/** A forward listener that connects to itself would carry its first connection for ever. */
function loops(root: unknown): Problem[] {
  return listeningPlaces(root).flatMap(({ owner, address, server }) => {
    if (server === undefined || server.port !== address.port || !reaches(server.host, address.host)) return [];
    return [
      {
        path: `${owner}.server`,
        says: `is ${server.host}:${server.port}, the listener's own address: it would connect to itself`,
      },
    ];
  });
}

/** Whether a connection to `target` arrives at a socket that listens on `listening`, as far as the texts say it. */
function reaches(target: string, listening: string): boolean {
  const loopback = /^(?:localhost|127\..*|::1|0\.0\.0\.0|::)$/;
  const everywhere = listening === "0.0.0.0" || listening === "::";
  if (everywhere) return loopback.test(target);
  const names = (host: string) => (host === "localhost" ? ["127.0.0.1", "::1"] : [host]);
  return names(target).some((host) => names(listening).includes(host));
}

function versionsOutOfOrder(root: unknown): Problem[] {
  const min = valueAt(root, ["policy", "versions", "min"]) ?? "TLSv1.2";
  const max = valueAt(root, ["policy", "versions", "max"]) ?? "TLSv1.3";
  const [lowest, highest] = [numberOf(min), numberOf(max)];
  if (lowest === undefined || highest === undefined || lowest <= highest) return [];
  return [{ path: "policy.versions.min", says: `is ${min}, above policy.versions.max, which is ${max}` }];
}

function numberOf(version: unknown): number | undefined {
  return Object.entries(VERSIONS).find(([name]) => name === version)?.[1];
}

/** A rule for a listener that does not exist would never match, and nobody would notice. */
function unknownListeners(root: unknown): Problem[] {
  const names = entriesAt(root, ["listeners"]).map(({ value }) => valueAt(value, ["name"]));
  return entriesAt(root, ["policy", "rules"]).flatMap(({ keys, value }) => {
    const named = valueAt(value, ["match", "listener"]);
    const values: unknown[] = Array.isArray(named) ? named : [named];
    return values.flatMap((name, index) => {
      if (typeof name !== "string" || name.trim() === "" || names.includes(name)) return [];
      const path = pathOf([...keys, "match", "listener", ...(Array.isArray(named) ? [index] : [])]);
      return [{ path, says: `is ${show(name)}, but no listener has this name` }];
    });
  });
}

/** A rule for what nobody looks at would never match, and nobody would notice. */
function revocationNotAsked(root: unknown): Problem[] {
  const [ocsp = "soft", crl = "off"] = ["ocsp", "crl"].map((how) => valueAt(root, ["policy", "revocation", how]));
  if (ocsp !== "off" || crl !== "off") return [];
  return entriesAt(root, ["policy", "rules"]).flatMap(({ keys, value }) => {
    const named = valueAt(value, ["match", "fault"]);
    const values: unknown[] = Array.isArray(named) ? named : [named];
    return values.flatMap((fault, index) => {
      if (!REVOCATION_FAULTS.some((name) => name === fault)) return [];
      const path = pathOf([...keys, "match", "fault", ...(Array.isArray(named) ? [index] : [])]);
      return [{ path, says: `is ${show(fault)}, but ocsp and crl of policy.revocation are off: it would never match` }];
    });
  });
}

/** A session must not miss a tool because its name was misspelt. */
function unknownTools(root: unknown): Problem[] {
  const names = entriesAt(root, ["tools"]).map(({ value }) => valueAt(value, ["name"]));
  return entriesAt(root, ["policy", "rules"]).flatMap(({ keys, value }) =>
    entriesAt(value, ["tools"]).flatMap(({ keys: [list, index], value: name }) => {
      if (typeof name !== "string" || names.includes(name)) return [];
      const path = pathOf([...keys, list!, index!]);
      return [{ path, says: `is ${show(name)}, but no tool has this name` }];
    }),
  );
}

/** A tool that is the node itself would be sent its own sessions, again and again. */
function toolLoops(root: unknown): Problem[] {
  const places = listeningPlaces(root);
  return entriesAt(root, ["tools"]).flatMap(({ keys, value }) => {
    const address = endpointOf(valueAt(value, ["address"]));
    const own =
      address &&
      places.find((place) => place.address.port === address.port && reaches(address.host, place.address.host));
    if (!own) return [];
    const says = `is ${address.host}:${address.port}, where ${own.owner} listens: the node would connect to itself`;
    return [{ path: pathOf([...keys, "address"]), says }];
  });
}

/** HTTP/2 is agreed on in the server's hello; a rule that needs its certificate is judged after that. */
function alpnTooLate(root: unknown): Problem[] {
  return entriesAt(root, ["policy", "rules"]).flatMap(({ keys, value }) => {
    const condition = certificateCondition(valueAt(value, ["match"]));
    if (valueAt(value, ["alpn"]) === undefined || condition === undefined) return [];
    const says = `comes too late: the rule's ${condition} is known with the certificate, and HTTP/2 is agreed on before`;
    return [{ path: pathOf([...keys, "alpn"]), says }];
  });
}

/** A key comes as PEM, a certificate and a key, or as one PKCS#12 file. */
function keyForms(root: unknown): Problem[] {
  return entriesAt(root, ["keys"]).flatMap(({ keys, value }) => {
    const has = (name: string) => valueAt(value, [name]) !== undefined;
    const pem = ["certificate", "key"];
    if (has("pkcs12")) {
      return pem
        .filter(has)
        .map((name) => ({ path: pathOf([...keys, name]), says: "stands beside pkcs12, which has both" }));
    }
    return pem.filter((name) => !has(name)).map((name) => ({ path: pathOf([...keys, name]), says: "is missing" }));
  });
}

function storeSecrets(root: unknown): Problem[] {
  return [["keyStore"], ["keyStore", "former"]].flatMap((keys) => {
    const both = ["passphraseFile", "keyFile"].every((name) => valueAt(root, [...keys, name]) !== undefined);
    return both
      ? [{ path: pathOf([...keys, "keyFile"]), says: "stands beside passphraseFile: one of them is enough" }]
      : [];
  });
}

/** Nodes that each have a CA of their own cannot open what the others have sealed, nor show the same certificates. */
function nothingInCommon(root: unknown): Problem[] {
  if (valueAt(root, ["resumption", "shared"]) === undefined) return [];
  if (valueAt(root, ["signing", "primary"]) !== undefined) return [];
  const says = "is set, but signing.primary is not: nodes that share a store need the same CA";
  return [{ path: "resumption.shared", says }];
}

/** A feed for a rule that does not exist would get nothing, and nobody would notice. */
function unknownRules(root: unknown): Problem[] {
  const names = entriesAt(root, ["policy", "rules"]).map(({ value }) => valueAt(value, ["name"]));
  const known = [...names.map((name) => (typeof name === "string" ? name.trim() : name)), ...BUILT_IN];
  return entriesAt(root, ["feeds"]).flatMap((feed) =>
    entriesAt(feed.value, ["rules"]).flatMap(({ keys, value: name }) => {
      if (typeof name !== "string" || name.trim() === "" || known.includes(name.trim())) return [];
      return [{ path: pathOf([...feed.keys, ...keys]), says: `is ${show(name)}, but no rule has this name` }];
    }),
  );
}

/** What a feed sends must never get into the traffic that it is a copy of. */
function feedsIntoThePath(root: unknown): Problem[] {
  const used = new Map(
    [...entriesAt(root, ["listeners"]), ...entriesAt(root, ["tools"])].flatMap(({ keys, value }) =>
      ["networkA", "networkB", "interfaceA", "interfaceB"].map((end) => [
        valueAt(value, [end]),
        pathOf([...keys, end]),
      ]),
    ),
  );
  return entriesAt(root, ["feeds"]).flatMap(({ keys, value }) => {
    const name = valueAt(value, ["interface"]);
    const user = used.get(name);
    if (name === undefined || user === undefined) return [];
    return [
      { path: pathOf([...keys, "interface"]), says: `is ${show(name)}, which is ${user}: plaintext would leave there` },
    ];
  });
}

/** The pcap format has no comments. */
function marksWithoutPlace(root: unknown): Problem[] {
  return entriesAt(root, ["feeds"]).flatMap(({ keys, value }) => {
    if (valueAt(value, ["format"]) !== "pcap" || valueAt(value, ["mark"]) === undefined) return [];
    return [{ path: pathOf([...keys, "mark"]), says: "has no place in the format pcap, only in pcapng" }];
  });
}

function endpointOf(value: unknown): HostPort | undefined {
  return typeof value === "string" ? readHostPort(value) : undefined;
}
