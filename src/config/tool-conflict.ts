import { CONDITION_NAMES, CONDITIONS } from "../policy/conditions.ts";
import { type Problem, pathOf, show, valueAt } from "./problem.ts";
import type { Config } from "./schema.ts";

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

/** The first condition of a rule's `match` that is judged on the server's certificate; undefined: none is. */
export function certificateCondition(match: unknown): string | undefined {
  return CONDITION_NAMES.find(
    (name) => CONDITIONS[name].phase === "certificate" && valueAt(match, [name]) !== undefined,
  );
}

/**
 * A tool's `alpn` counts for the tools that are expected when the server is asked, before its certificate is seen. A rule on the
 * certificate may add the tool when another rule has let HTTP/2 in. Whether both match one session only the sessions tell.
 */
export function toolWarnings({ policy: { rules }, tools }: Config): string[] {
  const limiting = tools.filter(({ alpn, flows }) => alpn && flows.includes("decrypted")).map(({ name }) => name);
  const lets = rules.findIndex(
    (rule) =>
      rule.action === "decrypt" &&
      rule.alpn === undefined &&
      rule.tools !== undefined &&
      certificateCondition(rule.match) === undefined &&
      !rule.tools.some((name) => limiting.includes(name)),
  );
  if (lets < 0) return [];
  return rules.flatMap(({ action, match, tools: named = [] }, index) => {
    const condition = certificateCondition(match);
    const late = named.findIndex((name) => limiting.includes(name));
    if (action !== "decrypt" || condition === undefined || late < 0) return [];
    return [
      `policy.rules[${index}].tools[${late}] is ${show(named[late])}, whose alpn keeps HTTP/2 out, and may come too late for that: the rule's ${condition} is known with the certificate, HTTP/2 is agreed on before, and policy.rules[${lets}] does not keep it out. Give that rule alpn: http/1.1`,
    ];
  });
}
