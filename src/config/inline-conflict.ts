import { isIP } from "node:net";
import ipaddr from "ipaddr.js";
import { entriesAt, type Problem, pathOf, show, valueAt } from "./problem.ts";

/** What is wrong between two values of inline listeners that may each be right alone. */
export function inlineConflicts(root: unknown): Problem[] {
  return [...wireConflicts(root), ...partings(root)];
}

/** A wire has two ends, and no two listeners share one; a bridge needs an address of its own to reach either side. */
function wireConflicts(root: unknown): Problem[] {
  const first = new Map<unknown, string>();
  return entriesAt(root, ["listeners"]).flatMap(({ keys, value }) => {
    if (valueAt(value, ["mode"]) !== "inline") return [];
    const problems: Problem[] = [];
    for (const end of ["networkA", "networkB"]) {
      const name = valueAt(value, [end]);
      const path = pathOf([...keys, end]);
      const earlier = first.get(name);
      if (earlier !== undefined) problems.push({ path, says: `is ${show(name)}, which is ${earlier} already` });
      else if (typeof name === "string") first.set(name, path);
    }
    if (valueAt(value, ["topology"]) === "bridge" && valueAt(value, ["address"]) === undefined) {
      problems.push({
        path: pathOf([...keys, "address"]),
        says: "is missing: a bridge needs an address on its network",
      });
    }
    return [...problems, ...routeConflicts(keys, value)];
  });
}

/** A router that is not on the bridge's network cannot be reached; and a router's routes are this machine's own. */
function routeConflicts(keys: readonly PropertyKey[], listener: unknown): Problem[] {
  const gateways = listed(listener, keys, ["gateway"]);
  const routers = entriesAt(listener, ["routes"]).map(({ keys: at, value }) => ({
    path: pathOf([...keys, ...at, "via"]),
    value: valueAt(value, ["via"]),
  }));
  if (valueAt(listener, ["topology"]) === "routed") {
    return ["gateway", "routes"]
      .filter((key) => valueAt(listener, [key]) !== undefined)
      .map((key) => ({
        path: pathOf([...keys, key]),
        says: "is for a bridge: a router follows this machine's own routes",
      }));
  }
  const subnets = listed(listener, keys, ["address"]).flatMap(({ value }) => readSubnet(value));
  const stray = [...gateways, ...routers].filter(({ value }) => {
    const router = readAddress(value);
    return (
      router !== undefined && !subnets.some((subnet) => router.kind() === subnet[0].kind() && router.match(subnet))
    );
  });
  const again = gateways.filter(({ value }, index) => {
    const kind = readAddress(value)?.kind();
    return kind !== undefined && gateways.slice(0, index).some((other) => readAddress(other.value)?.kind() === kind);
  });
  return [
    ...stray.map(({ path, value }) => ({
      path,
      says: `is ${show(value)}, which is in no subnet of ${pathOf([...keys, "address"])}`,
    })),
    ...again.map(({ path, value }) => ({ path, says: `is ${show(value)}, the second gateway of its family` })),
    ...familyMismatches(keys, listener),
  ];
}

function familyMismatches(keys: readonly PropertyKey[], listener: unknown): Problem[] {
  return entriesAt(listener, ["routes"]).flatMap(({ keys: at, value }) => {
    const [to] = readSubnet(valueAt(value, ["to"]));
    const via = readAddress(valueAt(value, ["via"]));
    if (to === undefined || via === undefined || to[0].kind() === via.kind()) return [];
    const path = pathOf([...keys, ...at, "via"]);
    return [
      { path, says: `is ${show(valueAt(value, ["via"]))}, of another family than ${pathOf([...keys, ...at, "to"])}` },
    ];
  });
}

/** The values of a key that takes one or a list. */
function listed(
  root: unknown,
  keys: readonly PropertyKey[],
  key: readonly string[],
): { path: string; value: unknown }[] {
  const value = valueAt(root, key);
  if (!Array.isArray(value)) return value === undefined ? [] : [{ path: pathOf([...keys, ...key]), value }];
  return value.map((one: unknown, index) => ({ path: pathOf([...keys, ...key, index]), value: one }));
}

function readAddress(value: unknown): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  return typeof value === "string" && isIP(value) !== 0 ? ipaddr.parse(value) : undefined;
}

/** One, or none when it has another form. */
function readSubnet(value: unknown): [ipaddr.IPv4 | ipaddr.IPv6, number][] {
  return typeof value === "string" && ipaddr.isValidCIDR(value) ? [ipaddr.parseCIDR(value)] : [];
}

/** They are set up and taken down as one. */
function partings(root: unknown): Problem[] {
  const inline = entriesAt(root, ["listeners"]).filter(({ value }) => valueAt(value, ["mode"]) === "inline");
  const [first] = inline;
  if (first === undefined) return [];
  const stopOf = (value: unknown) => valueAt(value, ["stop"]) ?? "remove";
  return inline
    .filter(({ value }) => stopOf(value) !== stopOf(first.value))
    .map(({ keys, value }) => ({
      path: pathOf([...keys, "stop"]),
      says: `is ${show(stopOf(value))}, but ${pathOf([...first.keys, "stop"])} is ${show(stopOf(first.value))}: all inline listeners stop alike`,
    }));
}
