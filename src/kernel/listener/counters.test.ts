import assert from "node:assert/strict";
import { test } from "node:test";
import type { NetworkRow } from "../../policy/network-rows.ts";
import { carryCounts } from "./counters.ts";
import type { PlanInput } from "./lane.ts";
import { carryPassing } from "./passing-vlans.ts";
import { planInline } from "./plan.ts";

const INPUT: PlanInput = {
  listeners: [
    {
      name: "wire",
      path: "listeners[0]",
      topology: "bridge",
      networkA: "eth3",
      networkB: "eth4",
      addresses: ["10.3.0.254/24"],
      gateways: [],
      routes: [],
      failure: "open",
      ports: "all",
      synHold: true,
      blockQuic: true,
      direction: "both",
      midStream: "pass",
      bgp: "pass",
    },
  ],
  workers: 1,
  apiPort: 8484,
  basePort: 15_001,
  baseQueue: 30,
  markShift: 16,
  routingTable: 7700,
  rulePriority: 100,
  features: {
    nftQueue: true,
    nftLog: true,
    iptablesNft: true,
    ipv6: true,
    forceForwarding: true,
    notrack: true,
    tagMemory: false,
  },
  bridgeMacs: { wire: "02:00:00:00:00:01" },
  rows: [],
};
const BANK: NetworkRow = { name: "bank", action: "bypass", server: ["192.0.2.1"] };
const SHOP: NetworkRow = { name: "shop", action: "drop", server: ["192.0.2.2"] };

test("Counters keep their counts after a reload, also when a rule has another index", () => {
  const before = planInline({ ...INPUT, rows: [BANK, SHOP] });
  const after = planInline({ ...INPUT, rows: [{ ...SHOP, name: "new" }, SHOP, BANK] });
  const script = carryCounts(before, after, {
    inet: new Map([["accepted-0", { packets: 7, bytes: 420 }]]),
    bridge: new Map([
      ["row-0-0", { packets: 5, bytes: 300 }],
      ["row-0-1", { packets: 0, bytes: 0 }],
      ["quic-0", { packets: 3, bytes: 90 }],
    ]),
  });
  const [inet = "", bridge = ""] = script.split("table bridge clearline {");
  assert.match(inet, /counter accepted-0 \{\n {4}packets 7 bytes 420\n {2}\}/);
  assert.match(inet, /counter unserved-0 \{\n {2}\}/);
  assert.match(bridge, /counter row-0-2 \{\n {4}packets 5 bytes 300\n/);
  assert.match(bridge, /counter row-0-1 \{\n {4}packets 0 bytes 0\n/);
  assert.match(bridge, /counter row-0-0 \{\n {2}\}/);
  assert.match(bridge, /counter quic-0 \{\n {4}packets 3 bytes 90\n/);
  assert.equal(script.replaceAll(/ {4}packets .*\n/g, ""), after.nft);
});

test("VLANs that cross a bridge keep their counts after a reload", () => {
  const { nft, passing } = planInline(INPUT);
  const [{ set } = { set: "" }] = passing;
  const vlan = { type: "8021q", id: 40, packets: 5, bytes: 300 };
  assert.match(
    carryPassing(nft, set, [vlan, { ...vlan, type: "8021ad", id: 100 }]),
    /set vlans-0 \{\n {4}elements = \{ 8021q \. 40 counter packets 5 bytes 300, 8021ad \. 100 counter packets 5 bytes 300 \}\n/,
  );
  assert.equal(carryPassing(nft, set, []), nft);
});
