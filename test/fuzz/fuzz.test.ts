import assert from "node:assert/strict";
import { test } from "node:test";
import { createDice, spoil } from "./damage.ts";
import { hunt, inputOf } from "./hunt.ts";
import { conversation, type Parser, turnsOf } from "./parser.ts";
import { PARSERS } from "./parsers.ts";

/**
 * A short form of `npm run fuzz`: whatever strangers send, a parser answers or refuses, in time. Each time the damage is another one;
 * `CLEARLINE_FUZZ_SEED` sets it, `CLEARLINE_FUZZ` the number of inputs.
 */
const INPUTS = Number(process.env["CLEARLINE_FUZZ"] ?? 20_000);
const SEED = Number(process.env["CLEARLINE_FUZZ_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

for (const parser of PARSERS) {
  test(`Damaged bytes of ${parser.of}: ${parser.name} answers or refuses`, async (t) => {
    const { inputs, failure } = await hunt(parser, { seed: SEED, inputs: Math.ceil(INPUTS / (parser.every ?? 1)) });
    t.diagnostic(`${inputs} inputs, seed ${SEED}`);
    if (!failure) return;
    const { run, input, error } = failure;
    const command = `npm run fuzz -- --only ${parser.name} --seed ${SEED} --inputs ${run + 1} --all`;
    throw new Error(`${command} fails with ${input.toString("hex")}`, { cause: error });
  });
}

test("Every parser has a name of its own", () => {
  assert.equal(new Set(PARSERS.map(({ name }) => name)).size, PARSERS.length);
});

test("The same seed gives the same inputs, another one others", () => {
  const parser = PARSERS[0]!;
  const inputs = (seed: number) => Array.from({ length: 50 }, (_, run) => inputOf(parser, seed, 1_000 + run).input);
  assert.deepEqual(inputs(1), inputs(1));
  assert.notDeepEqual(inputs(1), inputs(2));
});

const failing: Parser = {
  name: "failing",
  of: "the test",
  seeds: [Buffer.from("good")],
  read: (bytes) => assert.equal(bytes.toString("latin1").slice(0, 1), "g"),
};

test("An error that is no refusal, and memory that stays in use, are failures", async () => {
  const { failure } = await hunt(failing, { seed: 1, inputs: 1_000 });
  assert.ok(failure && failure.error instanceof assert.AssertionError);
  assert.deepEqual(inputOf(failing, 1, failure.run).input, failure.input);
  const later = await hunt(failing, { seed: 1, from: failure.run, inputs: 1_000 });
  assert.deepEqual([later.inputs, later.failure?.run], [1, failure.run]);
  const kept: Buffer[] = [];
  const keeping = { ...failing, read: () => void kept.push(Buffer.alloc(64 * 1024)) };
  const collect = () => undefined;
  assert.match(String((await hunt(keeping, { seed: 1, inputs: 5_000, collect })).failure?.error), /more are in use/);
});

test("Damage leaves the original as it is, and any bytes are a conversation", () => {
  const dice = createDice(1);
  const original = conversation("> EHLO a", "< 250 ok");
  const before = Buffer.from(original);
  assert.deepEqual(
    [...turnsOf(original)].map(([side, bytes]) => `${side} ${bytes}`),
    ["client EHLO a\r\n", "server 250 ok\r\n"],
  );
  for (let times = 0; times < 1_000; times++) assert.ok([...turnsOf(spoil(original, dice))].length < 1_000_000);
  assert.deepEqual(original, before);
});
