import assert from "node:assert/strict";
import type { Claim } from "../claim.ts";
import { dial, nextLine, serve } from "../ends.ts";
import type { Frame } from "../frame.ts";
import { FAMILIES, type Family } from "../network.ts";
import { watch } from "../wire.ts";

const PORT = 8023;
/** As a sender of RFC 5082 has it, with AF11 (RFC 2597). */
const CLIENT = { hopLimit: 255, trafficClass: 0x28 };
const SERVER = { hopLimit: 201, trafficClass: 0x48 };

/** What packets say about their way is the sender's own. */
export const WAY: readonly Claim[] = FAMILIES.map(carries);

function carries(family: Family): Claim {
  return {
    says: `IPv${family}: hop limit and DSCP are carried from the first packet on, in both directions, and a router counts as one hop`,
    async check({ network: { topology, client, server } }) {
      await using here = await watch(client, client.interface, "tcp");
      await using there = await watch(server, server.interface, "tcp");
      const answer = (peer: Parameters<Parameters<typeof serve>[2]>[0]) => {
        peer.write("hello\n");
        peer.resume().on("end", () => peer.end());
      };
      await using _ = await serve(server, PORT, answer, SERVER);
      const socket = await dial(client, { address: server.address[family], port: PORT }, { header: CLIENT });
      socket.write("hello\n");
      assert.equal(await nextLine(socket), "hello");
      socket.end();
      const hops = topology === "routed" ? 1 : 0;
      const wanted = ({ hopLimit, trafficClass }: typeof CLIENT) => `${hopLimit - hops} ${trafficClass}`;
      const up = await there.shows("what the client says", (all) => waysTo(all, "to"));
      const down = await here.shows("what the server says", (all) => waysTo(all, "from"));
      assert.deepEqual([up, down], [wanted(CLIENT), wanted(SERVER)]);
      return `${up} to the server, ${down} to the client`;
    },
  };
}

/** The one way of all SYNs and all data in this direction, once there is data. */
function waysTo(frames: readonly Frame[], field: "to" | "from"): string | undefined {
  const own = frames.flatMap(({ ip }) => (ip?.tcp?.[field] === PORT ? [{ ip, tcp: ip.tcp }] : []));
  if (!own.some(({ tcp }) => tcp.payload.length > 0)) return undefined;
  const telling = own.filter(({ tcp }) => tcp.flags.includes("S") || tcp.payload.length > 0);
  return [...new Set(telling.map(({ ip }) => `${ip.hopLimit} ${ip.trafficClass}`))].join(", ");
}
