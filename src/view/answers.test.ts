import assert from "node:assert/strict";
import { test } from "node:test";
import { Answers } from "./answers.ts";
import type { FromView } from "./protocol.ts";

test("An answer waits until each piece was used, and ends when nobody wants the rest, also while a piece is made", async () => {
  const answers = new Answers();
  const told: FromView["kind"][] = [];
  const making = Promise.withResolvers<void>();
  let isClosed = false;
  async function* pieces() {
    try {
      yield "first";
      await making.promise;
      yield "second";
    } finally {
      isClosed = true;
    }
  }
  const given = answers.give(1, pieces, ({ kind }) => told.push(kind));
  while (told.length === 0) await Promise.resolve();
  answers.more(1);
  answers.enough(1);
  making.resolve();
  await given;
  assert.deepEqual([told, isClosed], [["piece", "done"], true]);
});
