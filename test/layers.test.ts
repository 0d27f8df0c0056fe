import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";

/** Who may import whom: docs/ARCHITECTURE.md has the same table. The order is the data path. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  policy: [],
  sessions: [],
  resumption: [],
  detect: ["wire"],
  ssl3: ["wire"],
  linux: [],
  kernel: ["linux", "policy"],
  // The conditions and lists of the policy have their formats, which the configuration checks.
  config: ["policy"],
  pki: ["wire"],
  streams: ["detect"],
  legs: ["streams", "wire", "ssl3", "pki", "resumption"],
  capture: ["streams", "linux", "kernel", "detect", "wire"],
  tools: ["streams", "linux", "kernel", "wire"],
  feeds: ["wire", "linux"],
  fleet: ["resumption"],
  control: ["sessions", "policy", "config", "pki"],
  cli: [],
  flow: ["wire"],
};

/** Every folder may import these. */
const SHARED = ["errors.ts", "vocabulary.ts", "cache.ts"];

/** What a file may import beyond its folder's row. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  "src/cli/commands/run.ts": ["supervisor"],
  "src/cli/commands/check.ts": ["config", "pki"],
  "src/cli/commands/inline.ts": ["config", "kernel"],
  // Every command finds the node's address and token through the node's own file.
  "src/cli/place.ts": ["config"],
};

/** The two processes, and what passes between them, know everything. */
const PROCESSES = ["worker", "supervisor", "messages.ts"];

/** The story knows its stages by their types only. */
const STORY = "flow";

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

test("Every source file imports only what its folder may, and pure folders do no I/O", () => {
  const found = globSync("src/**/*.ts").flatMap((file) =>
    breaches(file, readFileSync(file, "utf8")).map((breach) => `${file} ${breach}`),
  );
  assert.deepEqual(found.sort(), []);
});

/** Every rule, seen to fail: a file, a source that breaks one rule, and what is said of it. */
const NEGATIVE: readonly (readonly [string, string, string])[] = [
  ["src/wire/x.ts", 'import { a } from "../policy/a.ts";', "imports policy: wire may not"],
  ["src/legs/x.ts", 'import type { A } from "../policy/a.ts";', "imports policy: legs may not"],
  ["src/detect/starttls/x.ts", 'import { a } from "../../legs/a.ts";', "imports legs: detect may not"],
  ["src/capture/x.ts", 'const a = await import("../worker/main.ts");', "imports worker: capture may not"],
  ["src/capture/x.ts", 'import { carry } from "../flow/flow.ts";', "imports flow: capture may not"],
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
  ["src/flow/x.ts", 'import { open } from "../legs/leg.ts";', "imports more than types from legs"],
  ["src/flow/x.ts", 'import { type A, open } from "../legs/leg.ts";', "imports more than types from legs"],
  ["src/flow/x.ts", 'import type { A } from "../worker/main.ts";', "imports worker: flow may not"],
  ["src/cli/x.ts", 'import { a } from "../control/api.ts";', "imports more than types from control"],
  ["src/cli/x.ts", 'import type { A } from "../control/server.ts";', "imports control: cli may not"],
  ["src/cli/commands/x.ts", 'import { run } from "../../supervisor/run.ts";', "imports supervisor: cli may not"],
  ["src/cli/commands/x.ts", 'import { load } from "../../config/load.ts";', "imports config: cli may not"],
  ["src/cli/commands/run.ts", 'import { run } from "../../supervisor/run.ts";', "imports supervisor before it runs"],
];
test("Each rule is seen to fail", () => {
  for (const [file, source, breach] of NEGATIVE)
    assert.deepEqual(breaches(file, source), [breach], `${file}: ${source}`);
});

const POSITIVE: readonly (readonly [string, string])[] = [
  ["src/wire/x.ts", 'import { createHash } from "node:crypto";\nimport { PeerError } from "../errors.ts";'],
  ["src/wire/x.test.ts", 'import net from "node:net";\nimport { a } from "../legs/a.ts";'],
  ["src/capture/x.ts", 'import { a } from "../detect/a.ts";\nimport { b } from "../linux/b.ts";'],
  ["src/flow/x.ts", 'import type { Leg } from "../legs/leg.ts";\nimport { PeerError } from "../errors.ts";'],
  ["src/flow/x.ts", 'import { ALERTS } from "../wire/alert.ts";'],
  ["src/flow/x.ts", 'import { type Leg, type Other } from "../legs/leg.ts";'],
  ["src/worker/x.ts", 'import { carry } from "../flow/flow.ts";\nimport { a } from "../legs/a.ts";'],
  ["src/cli/x.ts", 'import type { A } from "../control/api.ts";'],
  ["src/cli/commands/run.ts", 'const { runNode } = await import("../../supervisor/run.ts");'],
  ["src/policy/x.ts", "/** Never calls Date.now(): the time is passed in. */\nexport const a = 1; // no setTimeout"],
];
test("What is allowed passes", () => {
  for (const [file, source] of POSITIVE) assert.deepEqual(breaches(file, source), [], `${file}: ${source}`);
});

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
  if (to === layer || SHARED.includes(to) || PROCESSES.includes(layer)) return [];
  if (layer === STORY && !PROCESSES.includes(to) && !MAY_IMPORT[layer]!.includes(to)) {
    return typesOnly ? [] : [`imports more than types from ${to}`];
  }
  if (layer === "cli" && target === "src/control/api.ts") {
    return typesOnly ? [] : ["imports more than types from control"];
  }
  if (EXCEPTIONS[file]?.includes(to) === true) {
    return to !== "supervisor" || dynamic ? [] : [`imports ${to} before it runs`];
  }
  return MAY_IMPORT[layer]?.includes(to) === true ? [] : [`imports ${to}: ${layer} may not`];
}

/** "wire" for src/wire/a/b.ts, "errors.ts" for src/errors.ts. */
function layerOf(file: string): string {
  return relative("src", file).split("/")[0]!;
}
