import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetworkError } from "../errors.ts";
import { attachProgram, detachProgram, programsAt, withMap } from "./bpf.ts";
import { within } from "./netns.ts";
import { readLink } from "./routes.ts";
import { canKeepTags, noteTags, restoreTags, TAG_MAP } from "./tag-memory.ts";
import { needsNamespaces, routedNetwork } from "./test-network.ts";
import { nameVlan, steerVlan, tagVlan, untagVlan, type VlanTags } from "./vlan-programs.ts";

const NAMESPACES = needsNamespaces();
const KINDS: readonly VlanTags[] = [
  { id: 1 },
  { id: 4094 },
  { id: 10, outer: { id: 100, type: "802.1ad" } },
  { id: 10, outer: { id: 4094, type: "802.1Q" } },
];

test("The kernel takes the programs of every kind of VLAN, and they go one by one, in any order", NAMESPACES, () => {
  using network = routedNetwork();
  within(network.node, () => {
    const index = readLink("na")!.index;
    for (const tags of KINDS) {
      const own = [steerVlan(tags, index), untagVlan(tags), tagVlan(tags, index)].map((program) =>
        attachProgram(index, "ingress", "test", program),
      ) as [number, number, number];
      assert.deepEqual(programsAt(index, "ingress"), own, nameVlan(tags));
      assert.deepEqual(programsAt(index, "egress"), []);
      for (const [gone, left] of [
        [own[1], [own[0], own[2]]],
        [own[0], [own[2]]],
        [own[0], [own[2]]],
        [own[2], []],
      ] as const) {
        detachProgram(index, "ingress", gone);
        assert.deepEqual(programsAt(index, "ingress"), left);
      }
    }
  });
});

test("An interface that is not there, and a program that is none, are errors of the system", NAMESPACES, () => {
  using network = routedNetwork();
  within(network.node, () => {
    const index = readLink("na")!.index;
    const code = (code: string) => (error: NetworkError) => error.code === code;
    assert.throws(() => attachProgram(9999, "ingress", "test", untagVlan({ id: 1 })), code("ENODEV"));
    assert.throws(() => attachProgram(index, "ingress", "test", untagVlan({ id: 1 }).slice(0, -1)), code("EINVAL"));
    assert.deepEqual(programsAt(index, "ingress"), []);
  });
});

test("The kernel takes the programs that keep the priorities of tags", NAMESPACES, () => {
  using network = routedNetwork();
  within(network.node, () => {
    const index = readLink("na")!.index;
    assert.equal(canKeepTags(), true);
    for (const kind of [{ kind: "vlan" }, { kind: "priority", markShift: 16 }] as const) {
      withMap(TAG_MAP, (map) => {
        attachProgram(index, "ingress", "test", noteTags(kind, map));
        attachProgram(index, "egress", "test", restoreTags(kind, map));
      });
    }
    assert.deepEqual([programsAt(index, "ingress").length, programsAt(index, "egress").length], [2, 2]);
  });
});
