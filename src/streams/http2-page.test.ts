import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:http2";
import type { Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { endAndSocket } from "../engine/test-ends.ts";
import { answerHttp2 } from "./http2-page.ts";

const WAIT = 500;

function ask(t: TestContext, socket: Socket) {
  const client = connect("http://one.test", { createConnection: () => socket });
  client.on("error", () => {});
  t.after(() => client.destroy());
  const request = client.request({ ":path": "/" });
  request.on("error", () => {});
  return { client, request };
}

const answer = () => ({ answer: { status: 403, type: "text/plain", body: "no", fields: {} }, result: "shown" });

test("A client gets the answer, and GOAWAY, and the connection ends", async (t) => {
  const [end, socket] = await endAndSocket(t);
  socket.resume();
  const answered = answerHttp2(end, WAIT, answer);
  const { client, request } = ask(t, socket);
  const gone = once(client, "goaway");
  const [headers] = await once(request, "response");
  assert.equal(headers[":status"], 403);
  assert.equal(Buffer.concat(await request.toArray()).toString(), "no");
  assert.equal(await answered, "shown");
  await gone;
});

test("A client that neither reads its answer nor leaves does not keep the node waiting", {
  timeout: 20_000,
}, async (t) => {
  const [end, socket] = await endAndSocket(t);
  const answered = answerHttp2(end, WAIT, answer);
  // Nobody reads the socket.
  ask(t, socket);
  assert.equal(await answered, "shown");
});

test("A client that asks for nothing and stays does not keep the node waiting", { timeout: 20_000 }, async (t) => {
  const [end] = await endAndSocket(t);
  assert.equal(await answerHttp2(end, WAIT, answer), undefined);
});
