import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";

/** Who may import whom. The order is the data path. Files beside the folders stand under their own name. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  detect: ["wire"],
  policy: [],
  sessions: [],
  resumption: [],
  ssl3: ["wire"],
  linux: [],
  // The conditions and lists of the policy have their formats, which the configuration checks.
  config: ["policy"],
  pki: ["wire"],
  legs: ["wire", "ssl3", "pki", "resumption"],
  fleet: ["resumption"],
  capture: ["linux", "detect"],
  tools: ["wire", "linux"],
  feeds: ["wire", "linux"],
  control: ["sessions", "policy", "config", "pki"],
  cli: [],
};

/** What a file may import beyond its folder's row. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  "src/cli/commands/run.ts": ["supervisor.ts"],
  "src/cli/commands/check.ts": ["config", "pki"],
  "src/cli/commands/inline.ts": ["config", "capture", "inline.ts"],
  // Every command finds the node's address and token through the node's own file.
  "src/cli/place.ts": ["config"],
};

/** The composition roots know everything. */
const ROOTS = [
  "main.ts",
  "admission.ts",
  "mint-channel.ts",
  "worker-setup.ts",
  "worker-node.ts",
  "inline.ts",
  "sharing.ts",
  "supervisor.ts",
  "reload.ts",
  "worker-news.ts",
  "running.ts",
  "workers.ts",
  "plane.ts",
  "key-plane.ts",
  "messages.ts",
];

/** The story and its seams know the stages by their types only. */
const STORY = ["flow.ts", "upgrade.ts", "approach.ts", "node.ts"];

const PURE = ["wire", "detect", "policy", "sessions", "resumption", "ssl3"];
const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/\bfrom "node:(?!crypto"|buffer"|url"|util")/, "a module of Node that does I/O"],
  [/\bDate\.now\b|\bnew Date\(\)|\bperformance\.now\b/, "the clock"],
  [/\bset(?:Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, "a timer"],
  [/\bprocess\b\.|\bimport\(|\brequire\(|\bfetch\(|\bconsole\./, "the process, the network or the terminal"],
];
const STYLE: readonly (readonly [RegExp, string])[] = [
  [/^\s*(?:export\s+)?(?:declare\s+)?(?:const\s+)?enum\s/m, "an enum"],
  [/^\s*(?:export\s+)?namespace\s/m, "a namespace"],
  [/^export \* from /m, "a barrel"],
];

for (const file of globSync("src/**/*.ts").sort()) {
  test(`${file} stays in its layer`, () => {
    assert.deepEqual(breaches(file, readFileSync(file, "utf8")), []);
  });
}

/** Every rule, seen to fail: a file, a source that breaks one rule, and what is said of it. */
const NEGATIVE: readonly (readonly [string, string, string])[] = [
  ["src/wire/x.ts", 'import { a } from "../policy/a.ts";', "imports policy: wire may not"],
  ["src/legs/x.ts", 'import type { A } from "../policy/a.ts";', "imports policy: legs may not"],
  ["src/detect/starttls/x.ts", 'import { a } from "../../legs/a.ts";', "imports legs: detect may not"],
  ["src/capture/x.ts", 'const a = await import("../main.ts");', "imports main.ts: capture may not"],
  ["src/capture/x.ts", 'import { carry } from "../flow.ts";', "imports flow.ts: capture may not"],
  ["src/unknown/x.ts", 'import { a } from "../wire/a.ts";', "imports wire: unknown may not"],
  ["src/wire/x.ts", 'import net from "node:net";', "uses a module of Node that does I/O, in a pure folder"],
  ["src/sessions/x.ts", "const now = Date.now();", "uses the clock, in a pure folder"],
  ["src/policy/x.ts", "setTimeout(f, 1);", "uses a timer, in a pure folder"],
  ["src/ssl3/x.ts", "if (process.env) f();", "uses the process, the network or the terminal, in a pure folder"],
  ["src/legs/x.ts", "export enum A { B }", "has an enum"],
  ["src/legs/x.ts", "const enum A { B }", "has an enum"],
  ["src/legs/x.ts", "export namespace A {}", "has a namespace"],
  ["src/legs/x.ts", 'export * from "./a.ts";', "has a barrel"],
  ["src/legs/index.ts", "export const a = 1;", "is called index.ts"],
  ["src/flow.ts", 'import { open } from "./legs/leg.ts";', "imports more than types from legs"],
  ["src/flow.ts", 'import { type A, open } from "./legs/leg.ts";', "imports more than types from legs"],
  ["src/flow.ts", 'import type { A } from "./main.ts";', "imports main.ts: flow.ts may not"],
  ["src/cli/x.ts", 'import { a } from "../control/api.ts";', "imports more than types from control"],
  ["src/cli/x.ts", 'import type { A } from "../control/server.ts";', "imports control: cli may not"],
  ["src/cli/commands/x.ts", 'import { run } from "../../supervisor.ts";', "imports supervisor.ts: cli may not"],
  ["src/cli/commands/x.ts", 'import { load } from "../../config/load.ts";', "imports config: cli may not"],
  ["src/cli/commands/run.ts", 'import { run } from "../../supervisor.ts";', "imports supervisor.ts before it runs"],
];
for (const [file, source, breach] of NEGATIVE) {
  test(`The layers hold: ${file} ${breach} when it says ${source}`, () => {
    assert.deepEqual(breaches(file, source), [breach]);
  });
}

const POSITIVE: readonly (readonly [string, string])[] = [
  ["src/wire/x.ts", 'import { createHash } from "node:crypto";\nimport { PeerError } from "../errors.ts";'],
  ["src/wire/x.test.ts", 'import net from "node:net";\nimport { a } from "../legs/a.ts";'],
  ["src/capture/x.ts", 'import { a } from "../detect/a.ts";\nimport { b } from "../linux/b.ts";'],
  ["src/flow.ts", 'import type { Leg } from "./legs/leg.ts";\nimport { PeerError } from "./errors.ts";'],
  ["src/flow.ts", 'import type { Node } from "./node.ts";'],
  ["src/flow.ts", 'import { type Leg, type Other } from "./legs/leg.ts";'],
  ["src/main.ts", 'import { carry } from "./flow.ts";\nimport { a } from "./legs/a.ts";'],
  ["src/cli/x.ts", 'import type { A } from "../control/api.ts";'],
  ["src/cli/commands/run.ts", 'const { runNode } = await import("../../supervisor.ts");'],
  ["src/policy/x.ts", "/** Never calls Date.now(): the time is passed in. */\nexport const a = 1; // no setTimeout"],
];
for (const [file, source] of POSITIVE) {
  test(`The layers allow: ${file} may say ${source.replaceAll("\n", " ")}`, () => {
    assert.deepEqual(breaches(file, source), []);
  });
}

/** Everything in this source that its place in the tree does not allow. */
function breaches(file: string, source: string): string[] {
  if (file.endsWith(".test.ts")) return [];
  const code = source.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|[\s;{}])\/\/.*$/gm, "");
  const layer = layerOf(file);
  return [
    ...imports(code).flatMap((found) => importBreach(file, layer, found)),
    ...(PURE.includes(layer) ? IMPURE : [])
      .filter(([pattern]) => pattern.test(code))
      .map(([, what]) => `uses ${what}, in a pure folder`),
    ...STYLE.filter(([pattern]) => pattern.test(code)).map(([, what]) => `has ${what}`),
    ...(file.endsWith("/index.ts") ? ["is called index.ts"] : []),
  ];
}

interface Import {
  readonly path: string;
  readonly typesOnly: boolean;
  readonly dynamic: boolean;
}

function imports(code: string): Import[] {
  const fixed = code.matchAll(/\b(?:import|export)\s+(type\s+)?([\w*{][^"';]*?\s+from\s+)?"(\.[^"]+)"/g);
  const late = code.matchAll(/\bimport\(\s*"(\.[^"]+)"/g);
  return [
    ...[...fixed].map(([, type, names, path]) => ({
      path: path!,
      typesOnly: type !== undefined || (names !== undefined && everyNameIsType(names)),
      dynamic: false,
    })),
    ...[...late].map(([, path]) => ({ path: path!, typesOnly: false, dynamic: true })),
  ];
}

function everyNameIsType(names: string): boolean {
  const list = /^\{([^}]*)\}/.exec(names.trim())?.[1];
  const parts = list?.split(",").map((name) => name.trim()) ?? [];
  return list !== undefined && parts.every((name) => name === "" || name.startsWith("type "));
}

function importBreach(file: string, layer: string, { path, typesOnly, dynamic }: Import): string[] {
  const target = join(dirname(file), path);
  const to = layerOf(target);
  if (to === layer || to === "errors.ts") return [];
  if (ROOTS.includes(layer)) return [];
  if (STORY.includes(layer)) {
    if (to.endsWith(".ts") && STORY.includes(to)) return [];
    if (to.endsWith(".ts")) return [`imports ${to}: ${layer} may not`];
    return typesOnly ? [] : [`imports more than types from ${to}`];
  }
  if (layer === "cli" && target === "src/control/api.ts") {
    return typesOnly ? [] : ["imports more than types from control"];
  }
  if (EXCEPTIONS[file]?.includes(to) === true) {
    return to !== "supervisor.ts" || dynamic ? [] : [`imports ${to} before it runs`];
  }
  return MAY_IMPORT[layer]?.includes(to) === true ? [] : [`imports ${to}: ${layer} may not`];
}

/** "wire" for src/wire/a/b.ts, "flow.ts" for src/flow.ts. */
function layerOf(file: string): string {
  return relative("src", file).split("/")[0]!;
}
