import assert from "node:assert/strict";
import { test } from "node:test";
import { freePort } from "../../test/processes.ts";
import { listen, listenConfigured } from "../engine/listen.ts";
import { loop } from "../engine/test-ends.ts";
import { checkFree } from "./free-ports.ts";

const PATH = "listeners[0].address";

test("A port that workers share is found taken", async () => {
  const where = { host: "127.0.0.1", port: await freePort(), shared: true };
  const listeners = [1, 2].map(() => listen(loop, where, (client) => client.close()));
  await assert.rejects(checkFree(loop, { ...where, path: PATH }), {
    name: "ConfigError",
    path: PATH,
    message: `Cannot listen at 127.0.0.1:${where.port}: another program listens there (${PATH})`,
  });
  for (const listener of listeners) listener.close();
});

test("A port is free again at once after it was checked", async () => {
  const where = { host: "127.0.0.7", port: await freePort() };
  await checkFree(loop, { ...where, path: PATH });
  listen(loop, { ...where, shared: false }, () => {}).close();
});

test("A name is checked by its first address, and one without an address is told", async (t) => {
  const where = { host: "localhost", port: await freePort() };
  const listener = await listenConfigured(loop, PATH, { ...where, shared: false }, (client) => client.close());
  t.after(() => listener.close());
  await assert.rejects(checkFree(loop, { ...where, path: PATH }), { name: "ConfigError" });
  await assert.rejects(checkFree(loop, { host: "nowhere.invalid", port: 4433, path: PATH }), {
    name: "ConfigError",
    message: /^Cannot listen at nowhere\.invalid:4433: E[A-Z_]+ \(listeners\[0\]\.address\)$/,
  });
});
