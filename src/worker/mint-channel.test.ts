import assert from "node:assert/strict";
import { test } from "node:test";
import { PeerError } from "../errors.ts";
import type { FromWorker } from "../messages.ts";
import type { MintRequest } from "../pki/issue/mint.ts";
import type { Minted } from "../pki/issue/minted.ts";
import { createMintChannel } from "./mint-channel.ts";

const WANTED: MintRequest = { certificate: Buffer.alloc(1), authority: "primary", keyType: "ecdsa" };
const MINTED = { serial: "01" } as Minted;
const LONG = 600_000;

test("A request that the supervisor does not answer in a handshake's time is given up, and its answer changes nothing", async () => {
  const said: FromWorker[] = [];
  let limit = 5;
  const channel = createMintChannel(
    (message) => said.push(message),
    () => limit,
  );
  await assert.rejects(channel.ask(WANTED), (error: Error) => {
    assert.ok(error instanceof PeerError);
    assert.deepEqual(
      [error.alert, error.message],
      [80, "Cannot issue a certificate: the supervisor gave none in 5 ms"],
    );
    return true;
  });
  limit = LONG;
  const second = channel.ask(WANTED);
  channel.settle(1, { ...MINTED, serial: "late" });
  channel.settle(2, MINTED);
  assert.equal((await second).serial, "01");
  assert.deepEqual(
    said.map((message) => message.kind === "mint" && message.request),
    [1, 2],
  );
});

test("What the supervisor could not issue ends the request with its reason", async () => {
  const channel = createMintChannel(
    () => {},
    () => LONG,
  );
  const asked = channel.ask(WANTED);
  channel.settle(1, { failed: "no such key" });
  await assert.rejects(asked, { name: "PeerError", message: "no such key", alert: 80 });
});
