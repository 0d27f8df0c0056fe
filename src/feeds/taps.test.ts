import assert from "node:assert/strict";
import { test } from "node:test";
import type { Feed } from "./feed.ts";
import { createFilter } from "./filter.ts";
import { alpnLimit } from "./taps.ts";

const feed = (name: string, rules?: string[]) =>
  ({ name, wants: createFilter({ flows: ["decrypted"], rules }) }) as unknown as Feed;

test("A feed limits ALPN in the sessions that it copies, by their rule", () => {
  const feeds = [feed("all"), feed("some", ["lab"])];
  const onlyAlpn = alpnLimit(feeds, [{ name: "all" }, { name: "some", alpn: "http/1.1" }]);
  assert.equal(onlyAlpn("lab"), "http/1.1");
  assert.equal(onlyAlpn("default"), undefined);
});

test("A feed without rules limits all decrypted sessions", () => {
  assert.equal(alpnLimit([feed("all")], [{ name: "all", alpn: "http/1.1" }])("any"), "http/1.1");
  assert.equal(alpnLimit([feed("all")], [{ name: "all" }])("any"), undefined);
});
