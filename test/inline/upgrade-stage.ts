/** An inline node between clients and real servers whose sessions begin in plaintext. */
import assert from "node:assert/strict";
import { buildNetwork, type Network } from "../../lab/network.ts";
import { type LabNode, startNode } from "../../lab/node.ts";
import { startServers } from "../../lab/servers.ts";
import type { Session } from "../../src/control/api.ts";
import { type Identity, makeLeaf, makePki, type Pki } from "../pki.ts";
import { run, until } from "../processes.ts";
import { type Place, UPGRADE_PORTS, type UpgradeServer } from "./upgrade-servers.ts";

export const SERVER = "10.2.0.2";
const WATCHED = Object.entries(UPGRADE_PORTS).flatMap(([name, port]) => (/proxy/i.test(name) ? [] : [port]));
/** Control bits: RFC 9293, section 3.1. */
const FIN = 1;
const RST = 4;
/** The port of servers that a test makes itself. */
export const OWN_PORT = 2525;

type Start = (on: Place, identity: Identity) => Promise<UpgradeServer>;

export interface UpgradeStage<Name extends string> extends AsyncDisposable {
  readonly network: Network;
  readonly node: LabNode;
  readonly pki: Pki;
  readonly servers: Readonly<Record<Name, UpgradeServer>>;
  /** Runs a client and resolves with its stdout. Rejects when the exit code is not 0. */
  client(
    program: string,
    args: readonly string[],
    options?: { env?: NodeJS.ProcessEnv; input?: string },
  ): Promise<string>;
  /** The newest session with this port of the server that satisfies `is`, once it has ended. */
  sessionTo(port: number, is?: (session: Session) => boolean): Promise<Session>;
  /** The bytes of both sides in the feed, in order. */
  plaintextOf(session: Session): Promise<string>;
  /** Asserts that the newest session with this port was decrypted, and that the feed has all of `said`, in this order. */
  assertDecrypted(port: number, protocol: string, ...said: readonly string[]): Promise<void>;
}

/** Starts the servers and the node, which watches their ports for STARTTLS. `policy` overrides keys of the node's policy. */
export async function openUpgradeStage<Name extends string>(
  starts: Readonly<Record<Name, Start>>,
  policy: Readonly<Record<string, unknown>> = {},
): Promise<UpgradeStage<Name>> {
  await using stack = new AsyncDisposableStack();
  const pki = await makePki();
  const identity = await makeLeaf(pki, "lab", `DNS:*.clearline.test,IP:${SERVER}`);
  const network = stack.use(await buildNetwork("routed"));
  stack.use(await startServers(network.server, identity));
  const names = Object.keys(starts) as Name[];
  const running = await Promise.all(names.map((name) => starts[name](network.server, identity)));
  for (const server of running) stack.use(server);
  const servers = Object.fromEntries(names.map((name, index) => [name, running[index]!])) as Record<
    Name,
    UpgradeServer
  >;
  const startTls = { enabled: true, ports: [...WATCHED, OWN_PORT] };
  const config = { policy: { startTls, ...policy } };
  const node = stack.use(await startNode({ network, trust: [pki.root.certificate], config }));
  const kept = stack.move();

  const sessionTo = (port: number, is: (session: Session) => boolean = () => true) =>
    until(`a session with port ${port}`, async () =>
      (await node.sessions()).find((session) => session.server?.port === port && session.end !== null && is(session)),
    );
  const plaintextOf = ({ feeds, client, server }: Session) => {
    const ends = `tcp.port==${client.port} && tcp.port==${server?.port}`;
    const filter = `${ends} && (tcp.len>0 || tcp.flags.fin==1 || tcp.flags.reset==1)`;
    const fields = ["-T", "fields", "-e", "tcp.flags", "-e", "tcp.payload"];
    // The file is written a moment after the session's end. Once it has both closes, it has all bytes.
    return until("the session's end in the feed", async () => {
      const { stdout } = await run("tshark", ["-r", feeds["plaintext"] ?? "", "-Y", filter, ...fields]);
      const rows = stdout.split("\n").filter(Boolean);
      const flags = rows.map((row) => Number.parseInt(row, 16));
      const over = flags.some((bits) => bits & RST) || flags.filter((bits) => bits & FIN).length === 2;
      return over && rows.map((row) => Buffer.from(row.split("\t")[1] ?? "", "hex").toString("latin1"));
    }).then((parts) => parts.join(""));
  };
  return {
    network,
    node,
    pki,
    servers,
    sessionTo,
    plaintextOf,
    client: (program, args, { env = {}, input = "" } = {}) =>
      network.client.must(program, args, { input, within: 30_000, env: { ...process.env, ...env } }),
    async assertDecrypted(port, protocol, ...said) {
      const session = await sessionTo(port);
      assert.partialDeepStrictEqual(session, { protocol: "tls", verdict: "decrypt", phase: "certificate" });
      assert.partialDeepStrictEqual(session.startTls, { protocol, outcome: "upgraded" });
      assert.ok((session.startTls?.at ?? 0) >= session.start);
      const conversation = await plaintextOf(session);
      let at = 0;
      for (const text of said) {
        const found = conversation.indexOf(text, at);
        assert.ok(found >= 0, `${JSON.stringify(text)} is not in the feed behind ${at}:\n${conversation}`);
        at = found + text.length;
      }
    },
    async [Symbol.asyncDispose]() {
      await kept.disposeAsync();
      assert.doesNotMatch(node.process.output(), /worker died|A bug ended|TypeError/);
    },
  };
}
