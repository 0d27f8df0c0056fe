import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError } from "../errors.ts";
import { parseYaml, withPlace } from "./document.ts";

test("YAML that is nested too deeply or whose aliases expand without end is refused", () => {
  const bomb = [
    "a: &a [x, x, x, x, x, x, x, x, x]",
    ..."bcdefghi".split("").map((name, index) => `${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[index]}`)}]`),
  ].join("\n");
  for (const yaml of [bomb, "[".repeat(3000)]) {
    const { root, errors } = parseYaml("clearline.yaml", yaml);
    assert.equal(root, undefined);
    assert.equal(errors.length, 1);
    assert.match(
      String(errors[0]),
      /^ConfigError: Cannot read clearline\.yaml: it (is nested too deeply|repeats its aliases too often)$/,
    );
  }
});

test("A syntax error has a message of one line and a place", () => {
  const [error] = parseYaml("clearline.yaml", "a: 1\npolicy: { rules: [ }").errors;
  assert.match(error!.message, /^clearline\.yaml:2:\d+: [A-Z][^\n]*$/);
  assert.doesNotMatch(error!.message, /at line/);
  assert.equal(error!.place!.line, 2);
});

test("A duplicate key is named with its place, and the rest of the file is read", () => {
  const { root, errors } = parseYaml("clearline.yaml", "workers: 1\nworkers: 2\n");
  assert.deepEqual(errors.map(String), ["ConfigError: clearline.yaml:2:1: the key workers appears twice"]);
  assert.deepEqual(root, { workers: 2 });
});

const FILE = `# comment
listeners:
  - { name: a, mode: explicit }
  - name: b
    address: &here "127.0.0.1:1"
policy:
  rules:
    - {name: r, match: {port: [443, 70000]}}
"a key":
  x: *here
workers: 1
workers: 2
`;

const PLACES: [path: string, place: string, isKey?: boolean][] = [
  ["listeners[0].mode", "3:22"],
  ["listeners[0].mode", "3:16", true],
  ["listeners[0]", "3:5"],
  ["listeners[1]", "4:5"],
  ["listeners[1].address", "5:20"],
  // A group or a list: its key.
  ["policy.rules", "7:3"],
  ["policy.rules[0].match.port[1]", "8:37"],
  // The path has an index, the file a single value.
  ["listeners[1].name[0]", "4:11"],
  // A missing key: the group that lacks it.
  ["listeners[0].address", "3:5"],
  ["policy.versions.min", "6:1"],
  ["console", "2:1"],
  ["listeners[7]", "2:1"],
  ["", "2:1"],
  // Other forms of keys and values.
  ['["a key"].x', "10:6"],
  // The last of duplicate keys counts.
  ["workers", "12:10"],
];
for (const [path, expected, isKey = false] of PLACES) {
  test(`The ${isKey ? "key" : "value"} at ${path || "the root"} is at ${expected}`, () => {
    const { line, column } = parseYaml("clearline.yaml", FILE).locate(path, isKey)!;
    assert.equal(`${line}:${column}`, expected);
  });
}

test("A path that is not one of a configuration file has no place", () => {
  const { locate } = parseYaml("clearline.yaml", FILE);
  for (const path of ["/etc/hosts", "--certificate", "a..b", "workers ", "[x]"])
    assert.equal(locate(path), undefined, path);
});

test("An error from elsewhere gets the place of its path, if the file has that key", () => {
  const document = parseYaml("clearline.yaml", FILE);
  const taken = withPlace(new ConfigError("listeners[1].address", "Cannot listen at 127.0.0.1 port 1"), document);
  assert.equal(taken.message, "clearline.yaml:5:20: Cannot listen at 127.0.0.1 port 1");
  assert.equal(taken.path, "listeners[1].address");
  assert.equal(withPlace(taken, document), taken, "once is enough");
  for (const path of ["console.address", "", "/etc/hosts"]) {
    const error = new ConfigError(path, "Cannot");
    assert.equal(withPlace(error, document), error, path);
  }
});

test("The excerpt is the line with a caret under the column, whatever the line holds", () => {
  const excerpt = (text: string, path: string) => parseYaml("clearline.yaml", text).locate(path)!.excerpt;
  assert.equal(excerpt(FILE, "listeners[1].address"), '5 |     address: &here "127.0.0.1:1"\n  |                    ^');
  assert.equal(excerpt("", "listeners"), "1 | \n  | ^");
  assert.equal(excerpt("a:\t\u001b[2J5", "a").split("\n")[0], "1 | a:  [2J5");
  const [line = "", caret = ""] = excerpt(`a: [${"x, ".repeat(500)}here, ${"x, ".repeat(500)}]`, "a[500]").split("\n");
  assert.ok(line.length <= 104, line);
  assert.equal(line.slice(caret.indexOf("^")).slice(0, 4), "here");
});
