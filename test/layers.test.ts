import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";

/** Who may import whom: docs/ARCHITECTURE.md has the same table. The order is the data path. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  wire: [],
  policy: [],
  page: [],
  sessions: [],
  resumption: [],
  detect: ["wire"],
  ssl3: ["wire"],
  linux: [],
  kernel: ["linux", "policy"],
  config: ["policy", "page"],
  pki: ["wire"],
  engine: ["linux", "wire", "ssl3"],
  streams: ["engine", "page"],
  legs: ["engine", "wire", "ssl3", "pki", "resumption"],
  capture: ["engine", "streams", "linux", "kernel", "detect", "page"],
  tools: ["engine", "streams", "linux", "kernel", "wire"],
  feeds: ["wire", "linux"],
  view: ["feeds", "linux"],
  fleet: ["resumption"],
  control: ["sessions", "policy", "config", "pki", "page"],
  cli: [],
  flow: ["wire"],
};

/** Every folder may import these. */
const SHARED = ["errors.ts", "vocabulary.ts", "cache.ts", "recent-answers.ts", "port-map.ts"];

/** What a file or folder imports beyond its row, and why. */
const EXCEPTIONS: readonly (readonly [importer: string, imports: string, reason: string])[] = [
  ["src/view/main.ts", "log.ts", "it is a process of its own"],
  ["src/cli/commands/run.ts", "supervisor", "it becomes the supervisor, which is loaded only then"],
  ["src/cli/commands/check.ts", "config", "it reads the configuration without a node"],
  ["src/cli/commands/check.ts", "pki", "and the keys and certificates that the configuration names"],
  ["src/cli/commands/doctor.ts", "supervisor", "it looks at what a supervisor needs, running or not"],
  ["src/cli/commands/policy.ts", "config", "it reads a configuration whose policy is tried"],
  ["src/cli/commands/inline.ts", "config", "it plans a node's listeners, and takes them down without it"],
  ["src/cli/commands/inline.ts", "kernel", "it plans a node's listeners, and takes them down without it"],
  ["src/cli/place.ts", "config", "every command finds the node by its node.json and its configuration"],
  ["src/legs/", "streams", "the tests of legs read a hello as the story does"],
  ["src/streams/", "detect", "a conversation follows its dialogue up to the upgrade, and a replay repeats it"],
  ["src/streams/", "wire", "the hellos of a bypassed session are read while they pass"],
  ["src/capture/explicit.ts", "wire", "a client that speaks TLS to a plain proxy is refused with an alert"],
];

/** The two processes that know everything, and what passes between them. */
const PROCESSES = ["worker", "supervisor", "messages.ts"];

/** The story knows its stages by their types only. */
const STORY = "flow";

const PURE = ["wire", "detect", "policy", "page", "sessions", "resumption", "ssl3"];
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
  // The closures below could not follow it.
  [/\bimport\((?!\s*")|\brequire\(|\bcreateRequire\(/, "an import that is not a plain string"],
];

test("Every source file imports only what its folder may, and pure folders do no I/O", () => {
  const found = globSync("src/**/*.ts").flatMap((file) =>
    breaches(file, readFileSync(file, "utf8")).map((breach) => `${file} ${breach}`),
  );
  assert.deepEqual(found.sort(), []);
});

test("The console sees the API's types only", () => {
  const imported = globSync("console/src/**/*.{ts,tsx}").flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/^(import[^"]*?|[^"]*\bimport\()"((?:\.\.?\/)[^"]+)"/gm)]
      .map(([, how = "", path = ""]) => ({ how, path: join(dirname(file), path) }))
      .filter(({ path }) => !path.startsWith("console/"))
      .map(({ how, path }) => `${how.startsWith("import type ") ? "type" : "value"} ${path}`),
  );
  assert.deepEqual([...new Set(imported)], ["type src/control/api.ts"]);
});

test("No exception and no boundary is out of date", () => {
  const files = globSync("src/**/*.ts").filter((file) => !file.endsWith(".test.ts"));
  const unused = EXCEPTIONS.filter(
    (exception) =>
      !files.some((file) =>
        imports(codeOf(readFileSync(file, "utf8"))).some(({ path }) =>
          covers(exception, file, layerOf(join(dirname(file), path))),
        ),
      ),
  );
  const idle = [WORKER, SUPERVISOR, VIEW].flatMap(({ forbidden }) =>
    forbidden.filter(([pattern]) => !files.some((file) => pattern.test(file))),
  );
  assert.deepEqual([unused, idle], [[], []]);
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
  ["src/legs/x.ts", "await import(path);", "has an import that is not a plain string"],
  ["src/legs/x.ts", 'const require = createRequire("/");', "has an import that is not a plain string"],
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

/** A process, the file that it starts with, and files that it must never load, with the reason. */
interface Boundary {
  readonly process: string;
  readonly entry: string;
  readonly forbidden: readonly (readonly [RegExp, string])[];
}

/**
 * A worker parses hostile bytes: whoever takes it over must find no CA key, and no code that opens one or signs with it.
 * Inbound keys reach it as plain data, in its setup.
 */
const WORKER: Boundary = {
  process: "a worker",
  entry: "src/worker/main.ts",
  forbidden: [
    [/^src\/(?:supervisor|control|fleet|config|cli)\//, "it belongs to the supervisor or the command line"],
    // The kinds of keys that a client may be asked to verify: workers choose one.
    [
      /^src\/pki\/issue\/(?!issued\.ts$|minted\.ts$|key-type\.ts$|leaf-kind\.ts$)/,
      "it holds CA keys or signs with them",
    ],
    [/^src\/pki\/keys\/(?!keystore\.ts$|inbound-key\.ts$)/, "it opens keys"],
    [/^src\/pki\/x509\/certificate-writing\.ts$/, "it signs certificates"],
  ],
};

/** The supervisor holds the CA keys: it must not load code that reads what clients and servers send. */
const SUPERVISOR: Boundary = {
  process: "the supervisor",
  entry: "src/supervisor/run.ts",
  forbidden: [
    [/^src\/(?:worker|flow|detect|legs|ssl3)\//, "it carries sessions"],
    // The log is written to files that rotate.
    [/^src\/feeds\/(?!(?:block|capture-file|rotating-files)\.ts$)/, "it carries sessions"],
    [/^src\/view\//, "it reads what sessions carry"],
    // A heartbeat resolves the tool's name.
    [/^src\/streams\/(?!(?:resolve|host-files|numeric-host)\.ts$)/, "it carries sessions"],
    // Heartbeats and checks of ports need connections, but no TLS and no relay.
    [
      /^src\/engine\/(?!(?:dial|end|farewell|ip-header|keepalive|layer|listen|loop|native|node-socket|queue|socket-address|wait)\.ts$)/,
      "it carries sessions",
    ],
    [/^src\/capture\//, "it accepts sessions"],
    [/^src\/wire\/(?:.*hello|handshake|fingerprint|server-name|probe)/, "it reads TLS handshakes"],
  ],
};

/** The view parses what strangers sent, and needs nothing of TLS: whoever takes it over finds no key at all. */
const VIEW: Boundary = {
  process: "the view",
  entry: "src/view/main.ts",
  forbidden: [
    [/^src\/(?:worker|supervisor|control|fleet|config|cli|flow|capture|tools)\//, "it belongs to another process"],
    [/^src\/(?:pki|legs|engine|resumption)\//, "it holds keys"],
  ],
};

test("A worker loads no CA key and no minting, the supervisor nothing that reads sessions, the view no key", () => {
  const read = (file: string) => readFileSync(file, "utf8");
  assert.deepEqual(
    [WORKER, SUPERVISOR, VIEW].flatMap((boundary) => trespasses(boundary, read)),
    [],
  );
});

/** Sources of two processes, by file, and what is said of them. */
const CROSSED: readonly (readonly [string, Boundary, Readonly<Record<string, string>>, readonly string[]])[] = [
  [
    "directly",
    WORKER,
    { "src/worker/main.ts": 'import { createMint } from "../pki/issue/mint.ts";', "src/pki/issue/mint.ts": "" },
    ["a worker must not load src/pki/issue/mint.ts: it holds CA keys or signs with them (src/worker/main.ts)"],
  ],
  [
    "through another file, by a re-export",
    WORKER,
    {
      "src/worker/main.ts": 'import { a } from "./a.ts";',
      "src/worker/a.ts": 'export { openVault } from "../pki/keys/vault.ts";',
      "src/pki/keys/vault.ts": "",
    },
    ["a worker must not load src/pki/keys/vault.ts: it opens keys (src/worker/main.ts > src/worker/a.ts)"],
  ],
  [
    "when it is needed only",
    SUPERVISOR,
    {
      "src/supervisor/run.ts": 'const { detect } = await import("../detect/detectors.ts");',
      "src/detect/detectors.ts": "",
    },
    ["the supervisor must not load src/detect/detectors.ts: it carries sessions (src/supervisor/run.ts)"],
  ],
  [
    "for its effects",
    SUPERVISOR,
    { "src/supervisor/run.ts": 'import "../wire/client-hello.ts";', "src/wire/client-hello.ts": "" },
    ["the supervisor must not load src/wire/client-hello.ts: it reads TLS handshakes (src/supervisor/run.ts)"],
  ],
  [
    "beside types",
    WORKER,
    { "src/worker/main.ts": 'import { type Config, load } from "../config/load.ts";', "src/config/load.ts": "" },
    [
      "a worker must not load src/config/load.ts: it belongs to the supervisor or the command line (src/worker/main.ts)",
    ],
  ],
  [
    "for types alone, which are erased",
    WORKER,
    {
      "src/worker/main.ts":
        'import type { Mint } from "../pki/issue/mint.ts";\nimport { type A } from "../fleet/a.ts";',
    },
    [],
  ],
];
test("A file that a process must not load is found however it is imported", () => {
  for (const [how, boundary, sources, found] of CROSSED)
    assert.deepEqual(
      trespasses(boundary, (file) => sources[file]!),
      found,
      how,
    );
});

/** The forbidden files that a process loads, each with the chain of imports that leads there. */
function trespasses({ process, entry, forbidden }: Boundary, read: (file: string) => string): string[] {
  const importers = closure(entry, read);
  return [...importers.keys()].flatMap((file) =>
    forbidden
      .filter(([pattern]) => pattern.test(file))
      .map(([, reason]) => `${process} must not load ${file}: ${reason} (${wayTo(file, importers).join(" > ")})`),
  );
}

/** Every file that a process loads sooner or later, with the file that imports it. */
function closure(entry: string, read: (file: string) => string): Map<string, string | undefined> {
  const importers = new Map<string, string | undefined>([[entry, undefined]]);
  // A Map's iteration also visits what is added meanwhile.
  for (const file of importers.keys()) {
    if (!file.endsWith(".ts")) continue;
    for (const { path, typesOnly } of imports(codeOf(read(file)))) {
      const target = join(dirname(file), path);
      if (!typesOnly && !importers.has(target)) importers.set(target, file);
    }
  }
  return importers;
}

function wayTo(file: string, importers: ReadonlyMap<string, string | undefined>): string[] {
  const importer = importers.get(file);
  return importer === undefined ? [] : [...wayTo(importer, importers), importer];
}

/** Everything in this source that its place in the tree does not allow. */
function breaches(file: string, source: string): string[] {
  if (file.endsWith(".test.ts")) return [];
  const code = codeOf(source);
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

/** A source without its comments. */
function codeOf(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\/|(?<=^|[\s;{}])\/\/.*$/gm, "");
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
  if (EXCEPTIONS.some((exception) => covers(exception, file, to))) {
    return to !== "supervisor" || dynamic ? [] : [`imports ${to} before it runs`];
  }
  return MAY_IMPORT[layer]?.includes(to) === true ? [] : [`imports ${to}: ${layer} may not`];
}

function covers([importer, imports]: (typeof EXCEPTIONS)[number], file: string, to: string): boolean {
  return imports === to && (file === importer || (importer.endsWith("/") && file.startsWith(importer)));
}

/** "detect" for src/detect/starttls/smtp.ts, "errors.ts" for src/errors.ts. */
function layerOf(file: string): string {
  return relative("src", file).split("/")[0]!;
}
