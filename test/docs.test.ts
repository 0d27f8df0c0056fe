import assert from "node:assert/strict";
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import { configurationPage } from "../scripts/config-reference.ts";
import { loadConfig } from "../src/config/load.ts";
import { CONFIG } from "../src/config/schema.ts";
import { checkPki } from "../src/pki/check.ts";
import { make } from "../src/pki/x509/test-chain.ts";
import { scratch } from "./processes.ts";

/** The documents say what is true of the code: whatever of it a program can check. */

const PAGES = globSync(["*.md", "docs/**/*.md"]).sort();

test("The configuration reference is what the schema says", () => {
  const told = "docs/guide/configuration.md is old: node scripts/config-reference.ts > docs/guide/configuration.md";
  assert.equal(readFileSync("docs/guide/configuration.md", "utf8"), configurationPage(), told);
});

/** By what the names of their files contain. */
const PAIRS = {
  primary: await make({ ca: true, subject: "CN=primary" }),
  secondary: await make({ ca: true, subject: "CN=secondary" }),
  rsa: await make({ algorithm: "rsa" }),
  ecdsa: await make(),
};

/** A YAML block that begins with this line is a whole file, and must load. */
const COMPLETE = "# clearline.yaml";

const configurations = PAGES.flatMap((page) =>
  blocks(page, "yaml")
    .filter((text) => text.startsWith(`${COMPLETE}\n`))
    .map((text, index) => ({ name: `${page}, ${index + 1}`, text })),
);

test("The documents have complete configurations", () => assert.ok(configurations.length >= 5));

for (const { name, text } of configurations) {
  test(`A configuration that the documents show loads: ${name}`, async () => {
    const folder = scratch();
    for (const [, file] of text.matchAll(/\.\/([\w./-]+\.(?:pem|key|txt))\b/g)) writeNamedFile(folder, file!);
    const file = join(folder, "clearline.yaml");
    writeFileSync(file, text);
    const { warnings } = await loadConfig(file, (given) => checkPki(given, Date.now()));
    // A proxy that others reach is what many guides are about. Its warning is meant for all of them.
    const others = warnings.filter((one) => !/^listeners\[\d\]\.(?:address is not on loopback|reach opens)/.test(one));
    assert.deepEqual(others, []);
  });
}

for (const page of PAGES) {
  test(`${page} points only at files and headings that are there`, () => {
    const text = readFileSync(page, "utf8");
    const links = [...text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)|<img [^>]*src="([^"]+)"/g)];
    const dead = links.flatMap(([link, file, heading, image]) => {
      const target = file || image ? normalize(join(dirname(page), file || image!)) : page;
      if (!existsSync(target)) return [link];
      return heading === undefined || headings(target).includes(heading) ? [] : [link];
    });
    assert.deepEqual(dead, []);
  });
}

/** The anchors of a page's headings, as forges make them. */
function headings(page: string): string[] {
  return [...readFileSync(page, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );
}

test("Every page of the guide is reached from the README", () => {
  const readme = readFileSync("README.md", "utf8");
  const unreached = globSync("docs/**/*.md").filter((page) => !readme.includes(`](${page})`));
  assert.deepEqual(unreached, []);
});

test("Every folder of the code is in the architecture's table", () => {
  const page = readFileSync("docs/ARCHITECTURE.md", "utf8");
  const missing = globSync("src/*/").filter((folder) => !page.includes(`| \`${basename(folder)}\` |`));
  assert.deepEqual(missing, []);
});

test("The architecture's table allows the imports that the test of the layers allows", () => {
  const rows = readFileSync("docs/ARCHITECTURE.md", "utf8").matchAll(/^\| `(\w+)` \|[^|]*\| ([^|]*) \|[^|]*\|$/gm);
  const allowed = new Map([...rows].map(([, folder, may]) => [folder!, may === "nothing" ? "" : may!]));
  const held = [...readFileSync("test/layers.test.ts", "utf8").matchAll(/^ {2}(\w+): \[(.*)\],$/gm)];
  assert.ok(held.length > 10);
  // The table says of these in words what the test says in code of its own.
  const table = held.filter(([, folder]) => !["cli", "flow"].includes(folder!));
  for (const [, folder, may] of table) assert.equal(allowed.get(folder!), may!.replaceAll('"', ""), folder!);
});

test("Every test that the README's table names is there", () => {
  const rows = [...readFileSync("README.md", "utf8").matchAll(/^\| [^|]+ \| [^|]+ \| (`(?:src|test)\/.*`) \|$/gm)];
  assert.ok(rows.length > 20);
  const named = rows.flatMap(([, cell]) => cell!.split(", ").map((name) => name.replaceAll("`", "")));
  assert.deepEqual(
    named.filter((name) => globSync(`${name}.test.ts`).length === 0),
    [],
  );
});

test("Every source file that the documents name is there", () => {
  const missing = PAGES.filter((page) => page !== "CHANGELOG.md").flatMap((page) =>
    [...readFileSync(page, "utf8").matchAll(/`([\w./-]+\.(?:ts|sh|service|txt))`/g)]
      .map(([, file]) => file!)
      .filter(
        (file) =>
          file.includes("/") && !file.startsWith(".") && ![file, `src/${file}`].some((path) => existsSync(path)),
      )
      .map((file) => `${page}: ${file}`),
  );
  assert.deepEqual(missing, []);
});

test("Every file that the code names in a comment is there, and every page that it names", () => {
  const sources = globSync("{src,test,lab,bench,scripts}/**/*.ts");
  const isThere = (name: string) => [...sources, ...PAGES].some((file) => `/${file}`.endsWith(`/${name}`));
  const missing = sources.flatMap((file) => {
    const text = readFileSync(file, "utf8");
    const comments = text.match(/\/\*[\s\S]*?\*\/|(?<=^|[\s;{}])\/\/.*$/gm) ?? [];
    const named = [
      ...comments.flatMap((comment) => comment.match(/(?<![\w./*-])\w[\w./-]*\.ts\b/g) ?? []),
      ...(text.match(/(?<![\w./*-])\w[\w./-]*\.md\b/g) ?? []),
    ];
    return named.filter((name) => !isThere(name)).map((name) => `${file}: ${name}`);
  });
  assert.deepEqual(missing, []);
});

test("Every reason for the end of a session that the guide explains is one that the code gives", () => {
  const page = readFileSync("docs/guide/troubleshooting.md", "utf8");
  const [, table] = /^## Why a session ended$([\s\S]*?)^## /m.exec(page) ?? [];
  const reasons = [...table!.matchAll(/^\| (?!`Because`|---)(.+?) \|/gm)].map(([, reason]) => reason!);
  assert.ok(reasons.length > 20);
  const sources = globSync("src/**/*.ts", { exclude: (file) => file.endsWith(".test.ts") });
  const code = sources.map((file) => readFileSync(file, "utf8")).join();
  // The code fills in who it was and what it did, numbers, and what follows a colon.
  const filledIn = /[Tt]he (?:client|server)(?:'s)?|\b(?:closed|reset)\b(?: the connection\b)?|[…/,]|: \w+|:? ?\d+.*/;
  const parts = reasons.flatMap((reason) => reason.split(filledIn));
  assert.deepEqual(
    parts.map((part) => part.trim()).filter((part) => !code.includes(part)),
    [],
  );
});

test("Every metric is in the guide, and every metric in the guide is one", () => {
  const names = (file: string) =>
    new Set(readFileSync(file, "utf8").match(/\bclearline_[a-z_]+?(?=(?:_bucket|_count)?\b)/g));
  assert.deepEqual([...names("docs/guide/metrics.md")].sort(), [...names("src/control/metrics-table.ts")].sort());
});

test("Every command and option that the documents show is one", () => {
  const wrong = PAGES.flatMap((page) =>
    [...readFileSync(page, "utf8").matchAll(/^ +\$ (?:.*\s)?clearline (?:-- )?([a-z]+)([^#|>\n]*)/gm)]
      .filter(([, command, rest]) => !understands(command!, rest!))
      .map(([line]) => `${page}: ${line}`),
  );
  assert.deepEqual(wrong, []);
});

test("The Kubernetes manifest is YAML, and the configuration in it is one", () => {
  const objects = parseAllDocuments(readFileSync("packaging/kubernetes.yaml", "utf8"));
  assert.deepEqual(
    objects.flatMap(({ errors, warnings }) => [...errors, ...warnings]),
    [],
  );
  const kinds = objects.map((one) => (one.toJS() as { kind: string }).kind);
  assert.deepEqual(kinds, ["ConfigMap", "Deployment", "Service", "Deployment", "Service", "NetworkPolicy"]);
  const { data } = objects[0]!.toJS() as { data: Record<string, string> };
  const { error } = CONFIG.safeParse(parse(data["clearline.yaml"]!));
  assert.equal(error, undefined);
});

test("Whatever starts the node gives Node the same options", () => {
  const files = ["bin/clearline", "packaging/clearline.service", "packaging/kubernetes.yaml", "package.json"];
  const starts = files.flatMap((file) => {
    const text = readFileSync(file, "utf8").replaceAll(/[\s,]+/g, " ");
    return [...text.matchAll(/ (--disable-sigusr1(?: --[\w=-]+)*)/g)].map(([, options]) => `${file}: ${options}`);
  });
  assert.equal(starts.length, 5);
  for (const start of starts)
    assert.match(start, /: --disable-sigusr1 --max-semi-space-size=4 --no-parallel-scavenge$/);
});

test("The systemd unit grants what an inline listener needs, and nothing else", () => {
  const unit = readFileSync("packaging/clearline.service", "utf8");
  const values = (key: string) => [...unit.matchAll(new RegExp(`^${key}=(.*)$`, "gm"))].map(([, value]) => value);
  // The others are the supervisor's alone, for the workers' user.
  const capabilities = ["CAP_NET_ADMIN", "CAP_SETUID CAP_SETGID CAP_CHOWN CAP_KILL"];
  assert.deepEqual(values("AmbientCapabilities"), capabilities);
  assert.deepEqual(values("CapabilityBoundingSet"), capabilities);
  assert.deepEqual(values("NoNewPrivileges"), ["yes"]);
  // Each of these takes from the node what it needs: /proc/sys, the capability's meaning, or V8's compiler.
  for (const key of [
    "ProtectKernelTunables",
    "ProcSubset",
    "PrivateUsers",
    "PrivateNetwork",
    "MemoryDenyWriteExecute",
  ]) {
    assert.deepEqual(values(key), [], key);
  }
  const [, entry, command, rest] = /^ExecStart=\S+ (?:--\S+ )*(\S+) (\w+) (.*)$/m.exec(unit) ?? [];
  assert.ok(existsSync(entry!) && understands(command!, rest!));
});

/** A command has a file of its own, in which its options stand; the words of `ca show` too. */
function understands(command: string, rest: string): boolean {
  const file = `src/cli/commands/${command}.ts`;
  if (!existsSync(file)) return false;
  const source = readFileSync(file, "utf8");
  return [...rest.matchAll(/--[a-z-]+/g)].every(([option]) => source.includes(`"${option}`));
}

function blocks(page: string, language: string): string[] {
  const text = readFileSync(page, "utf8");
  return [...text.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, kind]) => kind === language)
    .map(([, , body]) => body!);
}

/** What a configuration names must be there. Lists are empty; a certificate and a key belong together by their names. */
function writeNamedFile(folder: string, file: string): void {
  const [, kind = "ecdsa"] = /(primary|secondary|rsa)/.exec(file) ?? [];
  const { pem, keyPem } = PAIRS[kind as keyof typeof PAIRS];
  mkdirSync(dirname(join(folder, file)), { recursive: true });
  const text = file.endsWith(".txt") ? "" : file.endsWith(".key") ? keyPem : pem;
  writeFileSync(join(folder, file), text, { mode: 0o600 });
}
