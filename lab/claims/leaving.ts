import assert from "node:assert/strict";
import { once } from "node:events";
import { MAIN } from "../../test/node.ts";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { dial } from "../ends.ts";
import { startNode, writeConfiguration } from "../node.ts";
import { PORTS } from "../servers.ts";
import { describeSetup, hasForeignRules } from "../setup.ts";
import { fetchDecrypted } from "./traffic.ts";

export const PLAN: Claim = {
  says: "`clearline inline plan` prints what the node does to the network, and changes nothing",
  async check({ network, node }) {
    const before = await describeSetup(network.node);
    const { code, stdout, stderr } = await node.command("inline", "plan");
    assert.equal(code, 0, stderr);
    for (const part of ["nft -f -", "table inet clearline", "lookup", "sysctl -w"])
      assert.ok(stdout.includes(part), `no "${part}" in:\n${stdout}`);
    assert.deepEqual(await describeSetup(network.node), before);
    return `${stdout.trim().split("\n").length} lines, nothing changed`;
  },
};

export const DRAIN: Claim = {
  says: "A node that stops lets live sessions end by themselves and new connections bypass it; then it removes exactly what it set up",
  async check({ network, node, pki, before }) {
    const { client, server } = network;
    assert.ok(await hasForeignRules(network.node), "the administrator's rules are gone");
    const socket = await dial(client, { address: server.address[4], port: PORTS.echo });
    const say = async (word: string) => {
      socket.write(word);
      const [answer] = await once(socket, "data");
      assert.equal(String(answer), word);
    };
    await say("before");
    const stopped = node.stop();
    await until("the node says that it stops", () => node.process.output().includes("Stopping"));
    await say("after");
    const past = ["-sS", "--fail", "-m", "10", "--cacert", pki.root.certificate, ...toPage(server.address[4])];
    await until("a new connection that bypasses the node", async () => (await client.run("curl", past)).code === 0);
    await say("still");
    socket.end();
    const { code } = await stopped;
    assert.equal(code, 0, node.process.output());
    assert.deepEqual(await describeSetup(network.node), before);
    return "echoed after SIGTERM, while a new client got the server's own certificate; rules, routes, links, addresses and settings as before";
  },
};

export const CRASH: Claim = {
  says: "A killed node's network setup is taken over by the next start and removed by the stop after it",
  async check({ network, node, pki, before }) {
    node.kill(node.pids());
    await node.process.ended;
    const left = await describeSetup(network.node);
    assert.notDeepEqual(left, before);
    const trust = [pki.root.certificate];
    const again = await startNode({ network, trust, folder: node.folder });
    const { code } = await again.stop();
    assert.equal(code, 0, again.process.output());
    assert.deepEqual(await describeSetup(network.node), before);
    const parts = Object.keys(before).filter((part) => left[part] !== before[part]);
    return `left by SIGKILL: ${parts.join(", ")}; as before after one more start and stop`;
  },
};

/** The listener of a node whose stop leaves its network setup in place. */
export const KEPT = { stop: "keep" } as const;

export const KEEP: Claim = {
  says: "With `stop: keep` no packet is lost during a stop and a start, nor during a crash and a start; meanwhile new connections bypass the node",
  async check(stage) {
    const { network, pki, before } = stage;
    const { client, server } = network;
    const trust = [pki.root.certificate];
    const past = ["-sS", "--fail", "-m", "10", "--cacert", pki.root.certificate, ...toPage(server.address[4])];
    const index = await linkOf(stage);
    const ping = client.start("ping", ["-i", "0.02", server.address[4]]);
    await ping.shows(/icmp_seq=10 /);
    assert.equal((await stage.node.stop()).code, 0, stage.node.process.output());
    await client.must("curl", past);
    const second = await startNode({ network, trust, listener: KEPT, folder: stage.node.folder });
    await fetchDecrypted({ ...stage, node: second }, 4, PORTS.https);
    second.kill(second.pids());
    await second.process.ended;
    await client.must("curl", past);
    const third = await startNode({ network, trust, listener: KEPT, folder: stage.node.folder });
    await fetchDecrypted({ ...stage, node: third }, 6, PORTS.https);
    const { stdout } = await ping.stop("SIGINT");
    assert.equal((await third.stop()).code, 0, third.process.output());
    assert.equal(await linkOf(stage), index);
    const [, sent] = /(\d+) packets transmitted/.exec(stdout) ?? [];
    const back = [...stdout.matchAll(/icmp_seq=(\d+) /g)].map(([, sequence]) => Number(sequence));
    // ping ends without waiting for the answer to its last packet.
    const lost = Array.from({ length: Number(sent) - 1 }, (_, before) => before + 1).filter(
      (one) => !back.includes(one),
    );
    assert.deepEqual(lost, [], stdout.slice(-300));
    const { code, stderr } = await third.command("inline", "undo");
    assert.equal(code, 0, stderr);
    assert.deepEqual(await describeSetup(network.node), before);
    return `${back.length} of ${sent} pings answered over two restarts; as before after \`inline undo\``;
  },
};

/** The interface number of the bridge, or of the interface toward the clients: a bridge that is made again gets another. */
async function linkOf({ network: { topology, node } }: Stage): Promise<string> {
  const name = topology === "bridge" ? "clbr0" : node.networkA;
  return (await node.must("cat", [`/sys/class/net/${name}/ifindex`])).trim();
}

export const UNDO: Claim = {
  says: "`clearline inline undo` removes the network setup of a killed node, without a start",
  async check({ network, node, before }) {
    assert.notDeepEqual(await describeSetup(network.node), before);
    const { code, stdout, stderr } = await node.command("inline", "undo");
    assert.equal(code, 0, stderr);
    assert.deepEqual(await describeSetup(network.node), before);
    return stdout.trim();
  },
};

export const NO_UNDO: Claim = {
  says: "`clearline inline undo` does not touch the setup of a running node",
  async check({ network, node }) {
    const before = await describeSetup(network.node);
    const { code, stderr } = await node.command("inline", "undo");
    assert.equal(code, 2);
    assert.match(
      stderr,
      /^Cannot take down what .*inline\.json lists: its node still runs as process \d+; stop it first\n$/,
    );
    assert.deepEqual(await describeSetup(network.node), before);
    return stderr.trim();
  },
};

export const CAPABILITY: Claim = {
  says: "CAP_NET_ADMIN is the only privilege that the node needs",
  async check(stage) {
    const { node } = stage;
    const [status] = await Promise.all([stage.network.node.must("cat", [`/proc/${node.process.pid}/status`])]);
    const effective = /^CapEff:\s*(\w+)$/m.exec(status)?.[1];
    const NET_ADMIN = 1n << 12n;
    assert.equal(BigInt(`0x${effective}`), NET_ADMIN);
    const page = await fetchDecrypted(stage, 4, PORTS.https);
    const page6 = await fetchDecrypted(stage, 6, PORTS.https);
    return `CapEff ${effective}: ${page.trim()}, ${page6.trim()}`;
  },
};

export const NO_CAPABILITY: Claim = {
  says: "Without CAP_NET_ADMIN the node says so in one line, and changes nothing",
  async check({ network, node, pki }) {
    await node.stop();
    const before = await describeSetup(network.node);
    const file = writeConfiguration({ network, trust: [pki.root.certificate] });
    const args = ["--bounding-set", "-net_admin", process.execPath, MAIN, "run", "-c", file];
    const { code, stdout, stderr } = await network.node.run("setpriv", args);
    assert.equal(code, 2, stderr);
    assert.match(stdout + stderr, /^[^\n]*CAP_NET_ADMIN[^\n]*\n$/);
    assert.deepEqual(await describeSetup(network.node), before);
    return stderr.trim();
  },
};

function toPage(address: string): readonly string[] {
  const name = `www.${DOMAIN}`;
  return ["--resolve", `${name}:${PORTS.https}:${address}`, `https://${name}/`];
}
