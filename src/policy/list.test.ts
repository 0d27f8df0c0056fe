import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { readList } from "./list.ts";

test("A list contains addresses, subnets, ranges and hosts, and may have comments and blank lines", () => {
  const text =
    "\uFEFF# banks\r\n\r\n  bank.example  # ours\r\n*.bank.example\n10.0.0.0/8\n10.0.0.1-10.0.0.9\n2001:db8::/32\n#end";
  assert.deepEqual(readList(text), {
    entries: ["bank.example", "*.bank.example", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "2001:db8::/32"],
    problems: [],
    unended: 8,
  });
});

test("A last line without a line end is told, because the file may have been cut off in it", () => {
  const unended = (text: string) => readList(text).unended;
  assert.deepEqual(["", "a.example\n", "a.example\r\n\r\n", "a.example\n  "].map(unended), Array(4).fill(undefined));
  assert.deepEqual(["a.exa", "a.example\nb.e", "a.example\r\n# and the oth"].map(unended), [1, 2, 2]);
});

test("A line that is not an entry is reported with its number, and the rest is read", () => {
  const { entries, problems } = readList("a.example\nfoo bar\n\n10.0.0.0/40\nb.example");
  assert.deepEqual(entries, ["a.example", "b.example"]);
  assert.deepEqual(
    problems.map(({ line, message }) => `${line}: ${message}`),
    [
      '2: "foo bar" is neither an address, a subnet, a range nor a host name',
      '4: "10.0.0.0/40" is neither an address, a subnet, a range nor a host name',
    ],
  );
});

test("Every line is an entry, a problem or nothing", () => {
  fc.assert(
    fc.property(fc.array(fc.string()), (lines) => {
      const { entries, problems } = readList(lines.join("\n"));
      assert.ok(entries.length + problems.length <= lines.join("\n").split(/\r\n|\n|\r/).length);
    }),
  );
});
