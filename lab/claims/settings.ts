import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import type { Claim } from "../claim.ts";
import { ask, begin, dial } from "../ends.ts";
import { FAMILIES, type Family } from "../network.ts";
import { firstWith, segmentsOf } from "../segments.ts";
import { PORTS } from "../servers.ts";
import { watch } from "../wire.ts";
import { fetchDecrypted } from "./traffic.ts";

/** Settings that differ from the listener's defaults. */
export const OTHER_SETTINGS = {
  synHold: false,
  blockQuic: true,
  ports: [PORTS.https, PORTS.closed],
  direction: "both",
  midStream: "reset",
} as const;

export const SETTINGS: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [acceptsFirst(family), refusesQuic(family)]),
  leavesOtherPorts(),
  keepsCounts(),
];

function acceptsFirst(family: Family): Claim {
  return {
    says: `IPv${family}: with synHold off, the client is accepted first, and reset when the server refuses`,
    async check(stage) {
      const { client, server } = stage.network;
      await fetchDecrypted(stage, family, PORTS.https);
      await using here = await watch(client, client.interface, "tcp");
      // `begin`, not `dial`: the reset may come right behind the SYN-ACK.
      const socket = begin(client, { address: server.address[family], port: PORTS.closed });
      const code = await new Promise((resolve) =>
        socket
          .resume()
          .on("error", (error: NodeJS.ErrnoException) => resolve(error.code))
          .on("end", () => resolve("end")),
      );
      assert.equal(code, "ECONNRESET");
      const flags = await here.shows("a RST", (frames) => {
        const found = segmentsOf(frames, PORTS.closed).map((segment) => segment.flags);
        return found.some((each) => each.includes("R")) ? found : undefined;
      });
      assert.deepEqual(flags.slice(0, 2), ["S", "SA"]);
      return flags.join(", ");
    },
  };
}

function refusesQuic(family: Family): Claim {
  return {
    says: `IPv${family}: with blockQuic on, UDP 443 is refused at once and never reaches the server; other ports pass`,
    async check({ network: { client, server } }) {
      const address = server.address[family];
      await using there = await watch(server, server.interface, "udp");
      const start = performance.now();
      const answer = await ask(client, { address, port: 443 }, Buffer.from("quic?"));
      const took = performance.now() - start;
      assert.equal(String(answer), "ECONNREFUSED");
      const echo = await ask(client, { address, port: PORTS.echo }, Buffer.from("not quic"));
      assert.equal(String(echo), "not quic");
      const frames = await there.shows("the datagram that passes", (all) => (all.length >= 2 ? all : undefined));
      assert.equal(frames.length, 2);
      return `ECONNREFUSED after ${took.toFixed(1)} ms, 0 datagrams to 443 at the server`;
    },
  };
}

function leavesOtherPorts(): Claim {
  return {
    says: "With a list of ports, the kernel forwards all other ports: the server sees the client's own packets, and there is no session",
    async check({ network: { client, server }, node }) {
      await using here = await watch(client, client.interface, "tcp");
      await using there = await watch(server, server.interface, "tcp");
      const socket = await dial(client, { address: server.address[4], port: PORTS.odd });
      socket.destroy();
      const [a, b] = await Promise.all(
        [here, there].map((wire) => wire.shows("a SYN", (frames) => firstWith(segmentsOf(frames, PORTS.odd), "S"))),
      );
      assert.equal(b!.sequence, a!.sequence);
      const sessions = (await node.sessions()).filter((session) => session.server?.port === PORTS.odd);
      assert.deepEqual(sessions, []);
      return `one TCP connection, sequence ${a!.sequence} on both wires`;
    },
  };
}

function keepsCounts(): Claim {
  return {
    says: "A reload of the rules takes effect at once and keeps the kernel's counters",
    async check(stage) {
      const { node, network } = stage;
      const { client, server } = network;
      const counted = async () => (await node.stats()).kernel.find(({ counts }) => counts === "accepted")?.packets ?? 0;
      await fetchDecrypted(stage, 4, PORTS.https);
      const before = await counted();
      assert.ok(before > 0);
      const config = JSON.parse(readFileSync(node.file, "utf8"));
      config.policy.rules.unshift({ name: "closed", match: { port: [PORTS.https] }, action: "drop" });
      writeFileSync(node.file, JSON.stringify(config));
      const { code, stderr } = await node.command("reload");
      assert.equal(code, 0, stderr);
      await assert.rejects(dial(client, { address: server.address[4], port: PORTS.https }), { code: "ECONNREFUSED" });
      assert.equal(await counted(), before);
      return `accepted: ${before} before and after`;
    },
  };
}
