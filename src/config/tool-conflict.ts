import { type Problem, pathOf, show, valueAt } from "./problem.ts";

/** What is wrong of inline tools between two places: an interface belongs to one, and a router has addresses. */
export function toolConflicts(root: unknown): Problem[] {
  return [...sharedInterfaces(root), ...listAt(root, "tools").flatMap(layerProblems)];
}

function sharedInterfaces(root: unknown): Problem[] {
  const first = new Map<string, string>();
  const owners = [
    ["listeners", "networkA", "networkB"],
    ["tools", "interfaceA", "interfaceB"],
  ] as const;
  return owners.flatMap(([list, ...keys]) =>
    listAt(root, list).flatMap((value, index) =>
      keys.flatMap((key) => {
        const name = valueAt(value, [key]);
        const path = pathOf([list, index, key]);
        if (typeof name !== "string") return [];
        const earlier = first.get(name);
        if (earlier === undefined) first.set(name, path);
        // Two listeners with one interface are told of elsewhere.
        return earlier === undefined || list === "listeners"
          ? []
          : [{ path, says: `is ${show(name)}, which is ${earlier} already` }];
      }),
    ),
  );
}

/** Beyond these a router cannot be found, and a bump in the wire has nothing to be found by. */
function layerProblems(value: unknown, index: number): Problem[] {
  if (valueAt(value, ["kind"]) !== "inline") return [];
  const layer = valueAt(value, ["layer"]) ?? 2;
  const given = (key: string) => valueAt(value, [key]) !== undefined;
  const path = (key: string) => pathOf(["tools", index, key]);
  if (layer === 2) {
    return ["gatewayA", "gatewayB"].filter(given).map((key) => ({
      path: path(key),
      says: "is for layer 3: a bump in the wire has no address",
    }));
  }
  if (layer !== 3) return [];
  return ["addressA", "addressB", "gatewayA", "gatewayB"]
    .filter((key) => !given(key))
    .map((key) => ({ path: path(key), says: "is missing: a tool that is a router is found by its addresses" }));
}

function listAt(root: unknown, key: string): readonly unknown[] {
  const list = valueAt(root, [key]);
  return Array.isArray(list) ? list : [];
}
