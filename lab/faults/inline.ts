import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Pki } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import { dial } from "../ends.ts";
import { PYTHON } from "../requirements.ts";
import { PORTS } from "../servers.ts";
import { harmless } from "./bench.ts";
import type { Fault } from "./fault.ts";
import { INLINE_PLAN, inModes, type Mode, topologyOf } from "./modes.ts";
import { type NetworkBench, openNetworkBench, PORT } from "./network.ts";
import { HALF_HELLO } from "./peers.ts";

const RESETS = 2000;
const SYNS = 3000;

/** Floods of an inline node. */
export const INLINE: readonly Fault[] = [
  ...inModes(["bridge", "router"], {
    name: "thousands-of-resets",
    about: `${RESETS} connections that are reset: at once, or after half a ClientHello`,
    promise: "No other session is hurt, and no session is left of them",
    parts: "",
    run: resetMany,
  }),
  ...inModes(["bridge", "router"], {
    name: "syn-flood",
    about: `${SYNS} SYNs to another port, 1,000 a second, whose clients answer nothing or do not exist`,
    promise: "No other session is hurt, though overload may bypass new ones; no session is left of them",
    parts: "",
    run: flood,
  }),
];

async function resetMany(pki: Pki, mode: Mode): Promise<string> {
  await using bench = await openNetworkBench(topologyOf(mode), pki, {}, INLINE_PLAN);
  const { client, server } = bench.stage.network;
  const begun = performance.now();
  let rate = 0;
  const seen = await harmless(bench, async () => {
    let count = 0;
    const one = async () => {
      for (let at = count++; at < RESETS; at = count++) {
        const socket = await dial(client, { address: server.address[at % 2 === 0 ? 4 : 6], port: PORT });
        if (at % 3 === 1) socket.write(HALF_HELLO);
        socket.resetAndDestroy();
      }
    };
    await Promise.all(Array.from({ length: 8 }, one));
    rate = RESETS / ((performance.now() - begun) / 1000);
  });
  await nothingLeft(bench);
  return `${rate.toFixed(0)} resets a second; ${seen}; afterwards no session is live`;
}

async function flood(pki: Pki, mode: Mode): Promise<string> {
  const root = readFileSync(pki.root.certificate, "utf8");
  await using bench = await openNetworkBench(topologyOf(mode), pki, { config: { overload: {} } }, INLINE_PLAN, root);
  const { client, server } = bench.stage.network;
  const address = client.address[4];
  const nobody = address.replace(/\d+$/, "77");
  // The client's own, whose kernel resets what comes back, and one that nobody has.
  const sources = [address, nobody];
  const script = new URL("../programs/syn-flood.py", import.meta.url).pathname;
  const seen = await harmless(bench, () =>
    client.must(PYTHON, [script, String(SYNS), String(PORTS.https), server.address[4], ...sources]),
  );
  const { bypassed } = (await bench.stage.node.stats()).overload;
  await nothingLeft(bench);
  const { length } = await bench.stage.node.sessions({ client: nobody });
  assert.ok(length > 0, "no SYN has reached the node");
  return `${seen}; overload bypassed ${bypassed}; afterwards no session is live`;
}

/** Ends the traffic. Resolves once no session is live. */
async function nothingLeft({ traffic, stage }: NetworkBench): Promise<void> {
  await traffic[Symbol.asyncDispose]();
  await until("the ends of all sessions", async () => (await stage.node.stats()).sessions.live === 0, 60_000);
}
