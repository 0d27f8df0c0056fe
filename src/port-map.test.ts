import assert from "node:assert/strict";
import { test } from "node:test";
import { mappedPort } from "./port-map.ts";

const at = (port: number, flow: "decrypted" | "bypassed" | "notTls" = "decrypted") => ({
  flow,
  server: { address: "192.0.2.1", port },
});

test("A port is mapped by its own entry, else by the default, else it stays", () => {
  assert.equal(mappedPort({ 443: 80, default: 8080 }, at(443)), 80);
  assert.equal(mappedPort({ 443: 80, default: 8080 }, at(993)), 8080);
  assert.equal(mappedPort({ 443: 80 }, at(993)), 993);
  assert.equal(mappedPort({}, at(443)), 443);
});

test("A session that is not decrypted keeps its port", () => {
  assert.equal(mappedPort({ 443: 80, default: 8080 }, at(443, "bypassed")), 443);
  assert.equal(mappedPort({ 443: 80, default: 8080 }, at(22, "notTls")), 22);
});
