import { randomBytes, randomInt } from "node:crypto";
import type { End } from "../engine/end.ts";
import { farewell } from "../engine/farewell.ts";
import { END, NOTHING_NOW } from "../engine/layer.ts";
import { listen } from "../engine/listen.ts";
import { type Loop, SCRATCH } from "../engine/loop.ts";
import { until } from "../engine/wait.ts";
import { NetworkError } from "../errors.ts";
import { resolveHost } from "../streams/resolve.ts";
import { LOCAL_HEADER, plainAddress } from "../wire/proxy-protocol.ts";
import { reachTool } from "./proxy-tool.ts";
import type { AwaitedReturn, ReturnsDirectory } from "./returns.ts";
import { keyOfHeartbeat, proxyHeader, type SessionHeader, sslproxyLine } from "./session-header.ts";
import type { ProxyTool, ToolSubject } from "./tool.ts";

type Directory = Pick<ReturnsDirectory, "expectHeartbeat" | "forgetHeartbeat">;

/**
 * Documentation addresses (RFC 5737), so that heartbeats are recognisable in a tool's log. Many tools connect back only when the first
 * bytes of a session have reached them, and some read nothing but HTTP.
 */
const FROM = "192.0.2.77";
const TO = { address: "198.51.100.77", port: 80 } as const;
const REQUEST = Buffer.from(
  "GET / HTTP/1.1\r\nHost: heartbeat.clearline.invalid\r\nUser-Agent: Clearline\r\nConnection: close\r\n\r\n",
);
const ANSWER = Buffer.from("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");

/**
 * The heartbeat: a session of the node's own, from a client to a server that are both the node, through the tool. It came through when the
 * server's answer is back, or an answer of the tool's own: a tool that refuses the request works. Rejects with NetworkError after
 * `timeout` ms.
 */
export async function probeProxyTool(
  loop: Loop,
  tool: ProxyTool,
  timeout: number,
  directory: Directory,
): Promise<void> {
  const deadline = performance.now() + timeout;
  const left = () => Math.max(1, deadline - performance.now());
  const open: End[] = [];
  let isOver = false;
  const header = await headerOf(loop, tool, timeout, directory);
  try {
    const ta = await reachTool(loop, tool, timeout);
    open.push(ta);
    void header.returned.then((tb) => {
      // The tool was late: nobody waits for the answer any more.
      if (isOver) return tb.close();
      open.push(tb);
      // The wait at Ta reports every failure.
      answer(tb, left()).catch(() => {});
    });
    ta.writeBytes(Buffer.concat([await header.write(ta), REQUEST]));
    const late = `no heartbeat came through in ${timeout} ms`;
    if ((await firstBytes(ta, left(), late)) === END)
      throw new NetworkError("The tool closed the heartbeat's connection and did not connect back", "ECONNRESET");
  } catch (error) {
    if (error instanceof NetworkError && error.code === "ECONNRESET")
      throw new NetworkError("The tool ended the heartbeat's connection", error.code, { cause: error });
    throw error;
  } finally {
    isOver = true;
    header.close();
    for (const end of open) end.close();
  }
}

/** Only connects to the tool, with a header that names no client: for tools that cannot take the node's own sessions. */
export async function connectToProxyTool(
  loop: Loop,
  tool: ProxyTool,
  timeout: number,
  directory: Directory,
): Promise<void> {
  const ta = await reachTool(loop, tool, timeout);
  // Some tools connect back for a health check too. That connection is no stranger.
  const keys = [keyOfHeartbeat(tool.name, ta)];
  const awaited: AwaitedReturn = { take: (back) => back.close() };
  directory.expectHeartbeat(awaited, keys);
  setTimeout(() => directory.forgetHeartbeat(awaited, keys), REACTION).unref();
  void farewell(ta, tool.header === "sslproxy" ? Buffer.alloc(0) : LOCAL_HEADER);
}

/** ms for which a connection back to the node may be the tool's reaction to a heartbeat. */
const REACTION = 10_000;

/** The same as before a session. A session that goes on after its time is a stranger for a while no more than others are. */
async function headerOf(loop: Loop, tool: ProxyTool, timeout: number, directory: Directory): Promise<SessionHeader> {
  const subject: ToolSubject = {
    ...{ id: `heartbeat-${randomBytes(4).toString("hex")}`, client: { address: FROM, port: randomInt(1024, 65_536) } },
    ...{ server: TO, flow: "notTls", host: undefined, alpn: undefined },
  };
  const returns = {
    async expect(awaited: AwaitedReturn, keys: readonly string[]) {
      directory.expectHeartbeat(awaited, [...keys]);
    },
    // A tool that is late connects back to nobody, which is no attempt to take a session.
    forget(awaited: AwaitedReturn, keys: readonly string[]) {
      setTimeout(() => directory.forgetHeartbeat(awaited, keys), REACTION).unref();
    },
  };
  if (tool.header === "proxy-v2") return proxyHeader(tool, subject, returns);
  const [host = tool.returnAddress.host] = await resolveHost(tool.returnAddress.host, timeout);
  const from = new Set((tool.from ?? (await resolveHost(tool.address.host, timeout))).map(plainAddress));
  const openPort = (take: (back: End) => void) =>
    listen(loop, { host, port: 0, shared: false }, (back, { address }) => {
      if (from.has(plainAddress(address))) take(back);
      else back.reset();
    });
  return sslproxyLine(subject, openPort, returns);
}

/** The server's part: an answer to whatever came. */
async function answer(tb: End, timeout: number): Promise<void> {
  await firstBytes(tb, timeout, "Nothing of the heartbeat came back");
  tb.writeBytes(ANSWER);
  tb.fin();
}

/** Resolves with the number of the first bytes that come, or END. */
function firstBytes(end: End, timeout: number, late: string): Promise<number> {
  const { scratchAt } = end.loop;
  const attempt = () => {
    const came = end.read(scratchAt, SCRATCH);
    if (came === NOTHING_NOW) return undefined;
    if (came < 0 && came !== END) throw new NetworkError("The connection was reset", "ECONNRESET");
    return came;
  };
  return until([end], attempt, { timeout, late });
}
