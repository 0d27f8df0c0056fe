import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:tls";
import { UPGRADE_PORTS } from "../../test/inline/upgrade-servers.ts";
import { DOMAIN } from "../../test/pki.ts";
import { must, until } from "../../test/processes.ts";
import type { Claim } from "../claim.ts";
import { begin } from "../ends.ts";
import { FAMILIES, type Family, type Host } from "../network.ts";
import { PORTS } from "../servers.ts";
import { FORBIDDEN } from "../tool-host.ts";
import { fetchPage, infoOf, sessionOf } from "../tool-sessions.ts";
import { watch } from "../wire.ts";
import { failsOpen, TOOL_FAILURE } from "./tool-failure.ts";
import { seesUpgrades } from "./tool-starttls.ts";

/** The first label of the host whose sessions the scenario's policy bypasses. */
const BYPASSED = "bypassed";

/** A node with one tool, whose failure drops sessions. The last claims restart the node. */
export const ONE_TOOL: readonly Claim[] = [
  ...FAMILIES.flatMap((family) => [seesPlaintext(family), kills(family), passesStates(family)]),
  carriesRest(),
  seesUpgrades(BYPASSED),
  dropsStrangers(),
  ...TOOL_FAILURE,
];

/** A node with two tools: the failure of the first drops sessions, that of the second is bypassed. */
export const TWO_TOOLS: readonly Claim[] = [...FAMILIES.map(passesBoth), failsOpen()];

/** A node with a tool that is a router: packets have the same addresses, but the node routes them to it. */
export const ROUTER_TOOL: readonly Claim[] = FAMILIES.flatMap((family) => [seesPlaintext(family), kills(family)]).map(
  (claim) => ({ ...claim, only: "routed" }),
);

function seesPlaintext(family: Family): Claim {
  return {
    says: `IPv${family}: the tool sees TLS sessions as plaintext, both ways, between the client's and the server's own addresses, on port 80 for 443`,
    async check(stage) {
      const { client, server } = stage.network;
      const [tool] = stage.tools;
      const path = `/seen-${family}`;
      await using wire = await watch(tool!, tool!.inA, "tcp");
      const { stdout } = await fetchPage(stage, family, path);
      await wire.shows("the answer", (frames) => frames.find(({ bytes }) => bytes.includes(stdout.trim())));
      const ip = family === 6 ? "ipv6" : "ip";
      const fields = [`${ip}.src`, `${ip}.dst`, "tcp.dstport", "http.request.uri"].flatMap((name) => ["-e", name]);
      const args = ["-r", wire.file, "-Y", `http.request.uri == "${path}"`, "-T", "fields", ...fields];
      const [seen = ""] = (await must("tshark", args)).trim().split("\n");
      assert.deepEqual(seen.split("\t"), [client.address[family], server.address[family], "80", path]);
      const record = await sessionOf(stage, path, family);
      assert.deepEqual(record.tools, [{ name: tool!.name, state: "connected" }]);
      return `tshark in the tool: ${seen.replaceAll("\t", " ")}`;
    },
  };
}

function kills(family: Family): Claim {
  return {
    says: `IPv${family}: the tool resets a forbidden request inside TLS; sessions beside it go on`,
    async check(stage) {
      const pages = ["/before", `/${FORBIDDEN}`, "/beside", "/after"];
      const outcomes = await Promise.all(pages.map((path) => fetchPage(stage, family, path, { mustWork: false })));
      const codes = outcomes.map(({ code }) => code);
      assert.equal(codes[0], 0);
      assert.notEqual(codes[1], 0);
      assert.deepEqual(codes.slice(2), [0, 0]);
      // The client was reset without an answer: curl ends with 56, or with 35 during its handshake.
      assert.equal(outcomes[1]?.stdout, "");
      return `curl ended with ${codes.join(", ")}: ${outcomes[1]?.stderr.trim().split("\n").at(-1)}`;
    },
  };
}

/** The first byte of TLS: RFC 8446, section 5.1. */
const HANDSHAKE = 22;

/** The configuration that these claims need. */
export const TOOL_CONFIG = {
  // Each state is held until it was read; TCP sends a dropped packet again after 1, 3 and 7 seconds.
  timeouts: { connect: "18s", drain: "2s" },
  policy: {
    versions: { min: "TLSv1" },
    startTls: { enabled: true, ports: [UPGRADE_PORTS.smtp] },
    rules: [{ name: "hands off", match: { host: [`${BYPASSED}-v4.${DOMAIN}`] }, action: "bypass" }],
  },
} as const;

/** Dropped packets hold a connection in each state. */
function passesStates(family: Family): Claim {
  return {
    says: `IPv${family}: a session passes the states 1 to 6 in order; each is held and read from the session table`,
    async check(stage) {
      const { network, node } = stage;
      const { client, server } = network;
      const tool = stage.tools[0]!;
      const states: string[] = [];
      const SYN = "tcp flags & (syn|ack) == syn";
      const SYN_ACK = "tcp flags & (syn|ack) == syn|ack";
      await using atServer = await hold(server, "inet", "input", `tcp dport ${PORTS.https} ${SYN}`);
      await using atClient = await hold(client, "inet", "input", `tcp sport ${PORTS.https} ${SYN_ACK}`);
      await using go = await hold(tool, "bridge", "forward", `tcp dport 80 ${SYN}`);
      await using comeBack = await hold(tool, "bridge", "forward", `tcp sport 80 ${SYN_ACK}`);
      const known = new Set((await node.sessions()).map(({ id }) => id));
      const socket = begin(client, { address: server.address[family], port: PORTS.https });
      const reaches = async (state: string) => {
        await until(`the state ${state} after ${states.join(", ")}`, async () =>
          (await node.sessions()).some((one) => !known.has(one.id) && one.state === state),
        );
        states.push(state);
      };
      await reaches("SYN_RCV:SYN_SENT:INIT:INIT");
      await atServer.release();
      await reaches("SYN_RCV:EST:INIT:INIT");
      const connected = once(socket, "connect");
      await atClient.release();
      await connected;
      await reaches("EST:EST:INIT:INIT");
      const name = `www.${DOMAIN}`;
      const ca = readFileSync(node.authorities);
      const secure = connect({ socket, servername: name, ca, ALPNProtocols: ["http/1.1"] });
      secure.on("error", () => {});
      await reaches("EST:EST:SYN_SENT:INIT");
      await go.release();
      await reaches("EST:EST:SYN_SENT:SYN_RCV");
      await comeBack.release();
      await reaches("EST:EST:EST:EST");
      secure.destroy();
      return states.map((state, index) => `${index + 1} ${state}`).join(", ");
    },
  };
}

function carriesRest(): Claim {
  return {
    says: "Plaintext connections and the TLS bytes of bypassed sessions pass the tool unchanged, on their own ports",
    async check(stage) {
      const { client, server } = stage.network;
      const [tool] = stage.tools;
      await using wire = await watch(tool!, tool!.inB, "tcp");
      const socket = begin(client, { address: server.address[4], port: PORTS.echo });
      socket.write("neither TLS nor HTTP\n");
      const [back] = await once(socket, "data");
      socket.destroy();
      assert.equal(String(back), "neither TLS nor HTTP\n");
      const seen = await wire.shows("the bytes", (frames) =>
        frames.find(({ bytes, ip }) => ip?.tcp?.to === PORTS.echo && bytes.includes("neither TLS nor HTTP")),
      );
      const page = await fetchPage(stage, 4, `/${BYPASSED}`, { trust: stage.pki.root.certificate });
      const hello = await wire.shows("a ClientHello", (frames) =>
        frames.find(({ ip }) => ip?.tcp?.to === PORTS.https && ip.tcp.payload[0] === HANDSHAKE),
      );
      assert.ok(!wire.frames().some(({ bytes }) => bytes.includes(page.stdout.trim())));
      return [seen, hello].map(({ ip }) => `port ${ip?.tcp?.to}: ${ip?.tcp?.payload.length} bytes`).join(", ");
    },
  };
}

function dropsStrangers(): Claim {
  return {
    says: "A connection that the tool itself begins belongs to no session: it is dropped and counted",
    async check(stage) {
      const tool = stage.tools[0]!;
      const before = (await infoOf(stage, tool.name)).strangers;
      const { server } = stage.network;
      const { code } = await tool.run("curl", ["-sS", "-m", "0.5", `http://${server.address[4]}:80/`]);
      assert.equal(code, 28);
      const { strangers } = await infoOf(stage, tool.name);
      assert.ok(strangers > before);
      return `${strangers - before} packets dropped, curl timed out`;
    },
  };
}

function passesBoth(family: Family): Claim {
  return {
    says: `IPv${family}: a session passes two tools, and its answers pass them in reverse`,
    async check(stage) {
      const path = `/through-both-${family}`;
      const wires = await Promise.all(stage.tools.map((tool) => watch(tool, tool.inB, "tcp")));
      try {
        const { stdout } = await fetchPage(stage, family, path);
        const times = [];
        for (const wire of wires) {
          const [asked, answered] = await wire.shows("a request and its answer", (frames) => {
            const found = [path, stdout.trim()].map((text) => frames.find(({ bytes }) => bytes.includes(text)));
            return found.every((frame) => frame !== undefined) ? found : undefined;
          });
          times.push({ asked: asked!.time, answered: answered!.time });
        }
        const [first, second] = times as [(typeof times)[0], (typeof times)[0]];
        assert.ok(first.asked <= second.asked && second.answered <= first.answered);
        assert.deepEqual(
          (await sessionOf(stage, path, family)).tools,
          stage.tools.map(({ name }) => ({ name, state: "connected" })),
        );
        return stage.tools.map(({ name }) => name).join(", then ");
      } finally {
        for (const wire of wires) await wire[Symbol.asyncDispose]();
      }
    },
  };
}

let holds = 0;

/** Drops packets that match at a host, until released. */
async function hold(host: Host, family: "inet" | "bridge", hook: "input" | "forward", match: string) {
  const table = `clthold${holds++}`;
  const chain = `{ type filter hook ${hook} priority 0; policy accept; ${match} drop; }`;
  await host.must("nft", ["-f", "-"], { input: `table ${family} ${table} {\n chain held ${chain}\n}\n` });
  let held = true;
  const release = async () => {
    if (held) await host.must("nft", ["delete", "table", family, table]);
    held = false;
  };
  return { release, [Symbol.asyncDispose]: release };
}
