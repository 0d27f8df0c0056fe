import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { type TestContext, test } from "node:test";
import { until } from "../../test/processes.ts";
import { EVENT_NAMES } from "../config/log-section.ts";
import { openWebhooks } from "./webhooks.ts";

const KEY = "0123456789abcdef";
const PAUSES = { first: 5, longest: 10 };

/** A receiver whose answers the test chooses. */
async function receiver(t: TestContext, answer: (count: number, response: ServerResponse) => void) {
  const requests: { headers: IncomingHttpHeaders; body: string }[] = [];
  const server = createServer(async (request, response) => {
    requests.push({ headers: request.headers, body: await text(request) });
    answer(requests.length, response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const warnings: { about: object; message: string }[] = [];
  const log = { warn: (about: object, message: string) => void warnings.push({ about, message }) };
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret`;
  const hook = { url, events: EVENT_NAMES, secret: undefined, timeout: 500, key: KEY };
  const webhooks = openWebhooks([hook], { roots: () => [], log, pauses: PAUSES });
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await webhooks.close();
  });
  return { requests, warnings, webhooks };
}

const status = (code: number) => (_: number, response: ServerResponse) => void response.writeHead(code).end();

test("An event is sent once, in JSON, and signed with the time", async (t) => {
  const { requests, webhooks } = await receiver(t, status(204));
  webhooks.tell("tool.down", "The tool ips has failed", { tool: "ips" });
  await until("the request", () => requests.length === 1);
  const [{ headers, body }] = requests as [(typeof requests)[0]];
  const event = JSON.parse(body);
  assert.deepEqual(
    [event.event, event.details, event.message],
    ["tool.down", { tool: "ips" }, "The tool ips has failed"],
  );
  const signed = createHmac("sha256", KEY).update(`${headers["x-clearline-time"]}.${body}`).digest("hex");
  assert.equal(headers["x-clearline-signature"], `sha256=${signed}`);
  assert.ok(Math.abs(Number(headers["x-clearline-time"]) - Date.now() / 1000) < 60);
});

test("A server that fails is asked again until it takes the event, and events keep their order", async (t) => {
  const { requests, webhooks } = await receiver(t, (count, response) => status(count < 4 ? 503 : 200)(count, response));
  webhooks.tell("tool.down", "one");
  webhooks.tell("tool.up", "two");
  await until("both", () => requests.length === 5);
  assert.deepEqual(
    requests.map(({ body }) => JSON.parse(body).message),
    ["one", "one", "one", "one", "two"],
  );
  assert.equal(new Set(requests.slice(0, 4).map(({ headers }) => headers["x-clearline-id"])).size, 1);
  assert.equal(webhooks.lost, 0);
});

test("What a server refuses for good is lost, counted and logged, without the URL's path", async (t) => {
  const { requests, webhooks, warnings } = await receiver(t, status(404));
  webhooks.tell("ca.made", "one");
  await until("the loss", () => webhooks.lost === 1);
  assert.equal(requests.length, 1);
  assert.match(JSON.stringify(warnings), /HTTP 404/);
  assert.doesNotMatch(JSON.stringify(warnings), /secret/);
});

test("A server that does not answer is given up after some attempts, and too many events are left out", async (t) => {
  const { webhooks, warnings } = await receiver(t, () => {});
  for (let count = 0; count < 1_005; count += 1) webhooks.tell("feed.down", "one");
  assert.equal(webhooks.lost, 5);
  await until("a warning", () => warnings.length > 0);
  assert.match(JSON.stringify(warnings[0]), /no answer in 500 ms/);
});
