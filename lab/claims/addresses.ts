import assert from "node:assert/strict";
import type { Claim } from "../claim.ts";
import { begin, dial, nextLine, serve } from "../ends.ts";
import type { Frame } from "../frame.ts";
import { FAMILIES, type Family } from "../network.ts";
import { segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";

const BACKWARDS = 8022;

/** Neither end can tell that there is a node between them. */
export const ADDRESSES: readonly Claim[] = FAMILIES.flatMap((family) => [keeps(family), backwards(family)]);

function keeps(family: Family): Claim {
  return {
    says: `IPv${family}: the server sees the client's address and port, the client sees the server's, and no packet has any other address`,
    async check({ network: { client, server }, node }) {
      await using here = await watch(client, client.interface, "tcp");
      await using there = await watch(server, server.interface, "tcp");
      const ends = [client.address[family], server.address[family]] as const;
      const since = Date.now();
      const socket = await dial(client, { address: ends[1], port: PORTS.who });
      const port = socket.localPort ?? 0;
      assert.equal(await nextLine(socket), `${ends[0]} ${port}`);
      assert.equal(socket.remoteAddress, ends[1]);
      socket.end();

      const session = await node.sessionFrom(port, since);
      assert.equal(session.client.address, ends[0]);
      assert.deepEqual(session.server, { address: ends[1], port: PORTS.who });
      for (const wire of [here, there]) {
        const frames = await wire.shows("the connection's end", (all) =>
          segmentsOf(all, PORTS.who).some(({ flags }) => flags.includes("F")) ? all : undefined,
        );
        assert.deepEqual(addresses(frames), [...ends].sort());
      }
      return `${ends[0]}:${port} and ${ends[1]}:${PORTS.who} on both wires`;
    },
  };
}

function backwards(family: Family): Claim {
  return {
    says: `IPv${family}: a router lets a connection from network B to network A pass unchanged, and it is not a session`,
    only: "routed",
    async check({ network: { client, server }, node }) {
      await using _ = await serve(client, BACKWARDS, (peer) => {
        peer.write(`${peer.remoteAddress} ${peer.remotePort}\n`);
        peer.resume().on("end", () => peer.end());
      });
      const socket = begin(server, { address: client.address[family], port: BACKWARDS });
      const line = await nextLine(socket);
      const port = socket.localPort;
      socket.end();
      assert.equal(line, `${server.address[family]} ${port}`);
      const found = (await node.sessions()).filter((session) => session.server?.port === BACKWARDS);
      assert.deepEqual(found, []);
      return `${line.replace(" ", ":")} seen at ${client.address[family]}:${BACKWARDS}`;
    },
  };
}

function addresses(frames: readonly Frame[]): readonly string[] {
  return [...new Set(frames.flatMap(({ ip }) => (ip === undefined ? [] : [ip.source, ip.destination])))].sort();
}
