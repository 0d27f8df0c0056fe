import assert from "node:assert/strict";
import { test } from "node:test";
import { Exchange } from "../detect/exchange.ts";
import { relay } from "../engine/relay.ts";
import { endAndSocket } from "../engine/test-ends.ts";
import { RequestConversation } from "./request-conversation.ts";

test("A client that sends its next request byte by byte, each in time, does not do so for ever", async (t) => {
  const [near, client] = await endAndSocket(t);
  const [far] = await endAndSocket(t);
  const limits = { requestHead: 1 << 20, requestTarget: 1 << 10 };
  const exchange = new Exchange({ host: undefined }, { limits, rewrites: false });
  const conversation = new RequestConversation(exchange, near, far, 100);
  const meter = { fromClient: 0, fromServer: 0, toClient: 0, toServer: 0 };
  const over = relay(near, far, { meter, taps: [], idle: 60_000 });
  client.write("GET / HTTP/1.1\r\nHost: one.test\r\nX: ");
  const dribble = setInterval(() => client.write("x"), 10);
  t.after(() => clearInterval(dribble));
  await assert.rejects(conversation.left(), { code: "ETIMEDOUT", message: /did not end it in time/ });
  near.close();
  await over;
});
