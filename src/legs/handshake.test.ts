import assert from "node:assert/strict";
import { test } from "node:test";
import { ALERTS } from "../wire/alert.ts";
import { explain } from "./handshake.ts";

test("A failed handshake names who refused, and why, in one sentence", () => {
  const reasonOf = (failure: Parameters<typeof explain>[1]) => explain("server", failure).reason;
  const alert = ALERTS.unknown_ca;
  assert.equal(reasonOf({ cause: "alert", alert, code: "" }), "The server refused the handshake: unknown_ca");
  assert.equal(
    reasonOf({ cause: "protocol", alert, code: "ERR_SSL_X" }),
    "The handshake with the server failed: ERR_SSL_X",
  );
  assert.equal(
    reasonOf({ cause: "network", alert, code: "EOF" }),
    "The server closed the connection during the handshake",
  );
  assert.equal(
    reasonOf({ cause: "network", alert, code: "ECONNRESET" }),
    "The server reset the connection during the handshake",
  );
});
