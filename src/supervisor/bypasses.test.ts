import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { until } from "../../test/processes.ts";
import { ConfigError } from "../errors.ts";
import { MOST_BYPASSES } from "../policy/bypass-book.ts";
import { BypassKeeper, type NewBypass } from "./bypasses.ts";

const HOUR = 3_600_000;
const WANTED: NewBypass = { entry: "app.example", author: "alice", comment: "pins", time: HOUR };

/** A keeper with a clock that the test sets, and one that nobody sets. */
async function keeperAt(t: TestContext, folder = mkdtempSync(join(tmpdir(), "clearline-bypasses-")), offset = 0) {
  const said: string[] = [];
  const clocks = { offset, wall: () => Date.now() + clocks.offset, steady: () => performance.now() };
  // Like the node's log, its methods need their object.
  const log = new (class {
    readonly #said = said;
    info(text: string): void {
      this.#said.push(text);
    }
    warn(text: string): void {
      this.#said.push(text);
    }
  })();
  const file = join(folder, "bypasses.json");
  const keeper = await BypassKeeper.open({ file, log, clocks });
  t.after(async () => {
    await keeper.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const entries = () => keeper.list().map(({ entry }) => entry);
  return { keeper, clocks, said, folder, file, entries };
}

test("Bypasses and their hits outlive the node, in a file that only its user may read", async (t) => {
  const { keeper, folder, file } = await keeperAt(t);
  const { bypass } = await keeper.add(WANTED);
  await keeper.add({ ...WANTED, entry: "10.0.0.0/8", time: null });
  keeper.note([
    { id: "1", rule: `bypass ${bypass.id}`, verdict: "bypass" },
    { id: "2", rule: `bypass ${bypass.id}`, verdict: "drop" },
    { id: "3", rule: "bypass list", verdict: "bypass" },
  ]);
  await keeper.close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const again = await keeperAt(t, folder);
  const [address, host] = [...again.keeper.list()].sort((a, b) => a.entry.localeCompare(b.entry));
  assert.deepEqual([address?.kind, address?.expires, address?.remaining, address?.hits], ["address", null, null, 0]);
  assert.deepEqual([host?.kind, host?.expires, host?.hits], ["host", bypass.expires, 1]);
  assert.ok(host!.lastHit! >= bypass.made && host!.remaining! <= HOUR);
});

test("A bypass ends on time, and everybody is told, however the clock was set meanwhile", async (t) => {
  const { keeper, clocks, said, entries, file } = await keeperAt(t);
  const told: number[] = [];
  const ended = new Promise<void>((resolve) =>
    keeper.listen({
      onChange(bypasses) {
        if (told.push(bypasses.length) === 3) resolve();
      },
      onNews() {},
    }),
  );
  await keeper.add(WANTED);
  clocks.offset = 40 * 86_400_000;
  assert.deepEqual(entries(), ["app.example"]);
  clocks.offset = -40 * 86_400_000;
  const { bypass } = await keeper.add({ ...WANTED, entry: "short.example", time: 1_000 });
  await ended;
  assert.deepEqual(entries(), ["app.example"]);
  assert.deepEqual(told, [1, 2, 1]);
  // The store may still have it, and by this clock it has not ended.
  await keeper.exchange({ bypasses: [{ ...bypass, expires: clocks.wall() + HOUR }], removed: [] });
  assert.deepEqual(entries(), ["app.example"]);
  assert.match(said.join(), /bypass [0-9a-f]{8} of short\.example has ended/);
  assert.doesNotMatch(readFileSync(file, "utf8"), /short\.example/);
});

test("A bypass that ends while it is written is removed all the same", async (t) => {
  const { keeper, said, entries, file } = await keeperAt(t);
  await keeper.add(WANTED);
  await keeper.add({ ...WANTED, entry: "short.example", time: 0 });
  assert.deepEqual(entries(), ["app.example"]);
  await until("its end", () => !readFileSync(file, "utf8").includes("short.example"));
  assert.match(said.join(), /short\.example has ended/);
});

test("A clock that is years behind at the start gives no bypass more time than it was made for", async (t) => {
  const { keeper, folder } = await keeperAt(t);
  await keeper.add(WANTED);
  await keeper.close();
  const again = await keeperAt(t, folder, -50 * 366 * 86_400_000);
  const [bypass] = again.keeper.list();
  assert.ok(bypass!.remaining! <= HOUR);
  const late = await keeperAt(t, folder, 2 * HOUR);
  assert.deepEqual(late.entries(), []);
});

test("Another bypass of the same entry replaces the first, and no more than the most are taken", async (t) => {
  const { keeper, entries } = await keeperAt(t);
  const { bypass } = await keeper.add(WANTED);
  const { replaced } = await keeper.add({ ...WANTED, time: null });
  assert.equal(replaced?.id, bypass.id);
  assert.deepEqual(entries(), ["app.example"]);
  const bypasses = Array.from({ length: MOST_BYPASSES }, (_, index) => ({
    ...bypass,
    id: index.toString(16).padStart(8, "0"),
    entry: `h${index}.example`,
  }));
  await keeper.exchange({ bypasses, removed: [] });
  assert.equal(entries().length, MOST_BYPASSES);
  await assert.rejects(keeper.add({ ...WANTED, entry: "more.example" }), /there are 500 already/);
});

test("A change that cannot be written is refused, and the bypasses before it stay", async (t) => {
  const { keeper, folder, file, entries } = await keeperAt(t);
  const { bypass } = await keeper.add(WANTED);
  const before = readFileSync(file, "utf8");
  // Renaming onto a folder fails, for root too.
  rmSync(file);
  mkdirSync(join(file, "in the way"), { recursive: true });
  await assert.rejects(
    keeper.add({ ...WANTED, entry: "b.example" }),
    (error) =>
      error instanceof ConfigError && /^Cannot add a bypass of b\.example, and nothing has/.test(error.message),
  );
  await assert.rejects(keeper.remove(bypass.id), /^ConfigError: Cannot remove the bypass of app\.example/);
  assert.deepEqual(entries(), ["app.example"]);
  rmSync(file, { recursive: true });
  await keeper.add({ ...WANTED, entry: "b.example" });
  assert.deepEqual([...entries()].sort(), ["app.example", "b.example"]);
  writeFileSync(file, before);
  assert.deepEqual((await keeperAt(t, folder)).entries(), ["app.example"]);
});

test("A file that cannot be read as bypasses is an error that says what to do, and stays as it is", async (t) => {
  const { folder, file } = await keeperAt(t);
  for (const [text, why] of [
    ['{"version":1,"byp', /bypasses\.json: it is not JSON\. Mend the file, or move it away/],
    ["null", /its version is not 1/],
    ['{"version":2}', /its version is not 1/],
    ['{"version":1,"bypasses":[{"id":"x"}],"removed":[]}', /bypasses\[0\] is not one/],
  ] as const) {
    writeFileSync(file, text, { mode: 0o600 });
    await assert.rejects(keeperAt(t, folder), why);
    assert.equal(readFileSync(file, "utf8"), text);
  }
});

test("A node takes over and passes on what others added and removed", async (t) => {
  const [one, two] = [await keeperAt(t), await keeperAt(t)];
  const { bypass } = await one.keeper.add(WANTED);
  await two.keeper.add({ ...WANTED, entry: "b.example" });
  const written = await one.keeper.exchange(undefined);
  const merged = await two.keeper.exchange(written);
  assert.equal(await two.keeper.exchange(merged), undefined);
  assert.equal(await one.keeper.exchange(merged), undefined);
  assert.deepEqual(
    [one.entries().toSorted(), two.entries().toSorted()],
    [["app.example", "b.example"], one.entries().toSorted()],
  );
  await one.keeper.remove(bypass.id);
  await two.keeper.exchange(await one.keeper.exchange(merged));
  assert.deepEqual(two.entries(), ["b.example"]);
  assert.match(
    two.said.join("\n"),
    /^From another node: bypass .* alice bypasses app\.example until .*: pins\nAnother node has removed/,
  );
  assert.equal(await two.keeper.remove("00000000"), undefined);
});
