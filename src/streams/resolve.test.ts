import assert from "node:assert/strict";
import { test } from "node:test";
import { NetworkError } from "../errors.ts";
import { resolveHost } from "./resolve.ts";

test("An address stands for itself, and a name that does not exist is a NetworkError", async () => {
  assert.deepEqual(await resolveHost("2001:db8::1", 1_000), ["2001:db8::1"]);
  await assert.rejects(resolveHost("no-such-host.invalid", 10_000), NetworkError);
});
