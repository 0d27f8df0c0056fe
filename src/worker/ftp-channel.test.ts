import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { SharedFtpSession } from "../legs/ftp-sessions.ts";
import type { FromWorker } from "../messages.ts";
import { createFtpChannel } from "./ftp-channel.ts";

const SESSION: SharedFtpSession = { peers: "p", name: "n", session: Buffer.alloc(1), ders: [], until: 1 };
const LONG = 600_000;

function channelOf(patience: number) {
  const said: FromWorker[] = [];
  return { said, channel: createFtpChannel((message) => said.push(message), patience) };
}

test("A session is shared once every worker that it was sent to has taken it", async () => {
  const { said, channel } = channelOf(LONG);
  let isShared = false;
  const shared = channel.share(SESSION).then(() => {
    isShared = true;
  });
  assert.deepEqual(said, [{ kind: "ftp session", request: 1, shared: SESSION }]);
  channel.hear({ kind: "ftp session sent", request: 1, workers: 2 });
  channel.hear({ kind: "ftp session taken", request: 1 });
  channel.hear({ kind: "ftp session taken", request: 2 });
  await turn();
  assert.equal(isShared, false);
  channel.hear({ kind: "ftp session taken", request: 1 });
  await shared;
});

test("A session that no other worker can take is shared at once", async () => {
  const { channel } = channelOf(LONG);
  const shared = channel.share(SESSION);
  channel.hear({ kind: "ftp session sent", request: 1, workers: 0 });
  await shared;
});

test("Nobody waits long for a worker that hangs, and its answer changes nothing later", async () => {
  const { channel } = channelOf(5);
  const [first, second] = [channel.share(SESSION), channel.share(SESSION)];
  channel.hear({ kind: "ftp session sent", request: 1, workers: 1 });
  await Promise.all([first, second]);
  channel.hear({ kind: "ftp session taken", request: 1 });
});
