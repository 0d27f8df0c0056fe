import assert from "node:assert/strict";
import { test } from "node:test";
import { CALLER_ROLES } from "../vocabulary.ts";
import { ANYONE, hasRole, OWNER } from "./caller.ts";

test("A role may do what the roles before it may, and no more", () => {
  const may = CALLER_ROLES.map((role) => CALLER_ROLES.map((least) => hasRole({ name: "x", role }, least)));
  assert.deepEqual(may, [
    [true, false, false],
    [true, true, false],
    [true, true, true],
  ]);
  assert.deepEqual([hasRole(OWNER, "administrator"), hasRole(ANYONE, "operator")], [true, false]);
});
