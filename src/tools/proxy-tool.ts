import { connect, isIP, type Socket } from "node:net";
import { NetworkError } from "../errors.ts";
import { LOCAL_HEADER } from "../wire/proxy-protocol.ts";
import { toolPort } from "./ports.ts";
import { openReturnAddress, type ReturnAddress } from "./return-address.ts";
import type { ReturnsDirectory } from "./returns.ts";
import { connectionKey, proxyHeader, type SessionHeader, sslproxyLine } from "./session-header.ts";
import type { Hop, ProxyTool, Tool, ToolContext, ToolSubject } from "./tool.ts";

/** Throws ConfigError when the node cannot listen at the return address. */
export async function openProxyTool(tool: ProxyTool, context: ToolContext): Promise<Tool> {
  const back = await openReturnAddress(tool, context);
  return {
    name: tool.name,
    kind: "proxy",
    connect: (subject) => enter(tool, context, back, subject),
    counters: () => ({ strangers: back.strangers }),
    async close() {
      back.close();
    },
  };
}

async function enter(
  tool: ProxyTool,
  { timeout, returns }: ToolContext,
  back: ReturnAddress,
  subject: ToolSubject,
): Promise<Hop> {
  const { name } = tool;
  const told = { ...subject, server: { ...subject.server, port: toolPort(tool.ports, subject) } };
  for (const end of [told.client, told.server]) {
    if (isIP(end.address) === 0) throw new NetworkError("The session ended before its tools", "ECONNABORTED");
  }
  const header =
    tool.header === "sslproxy" ? await sslproxyLine(told, back.openPort) : proxyHeader(name, told, returns);
  try {
    const ta = await reach(tool, timeout());
    back.learn(ta.remoteAddress ?? tool.address.host);
    const bytes = header.write(ta);
    ta.write(bytes);
    const tb = awaitReturn(header, { name, ta, length: bytes.length, timeout: timeout() });
    return { tool: name, ta, tb, sieve: header.lineRemover };
  } catch (error) {
    header.close();
    throw error;
  }
}

/** ms between two checks whether the session has sent bytes of its own. */
const CHECK_INTERVAL = 250;

/**
 * Waits for the tool to connect back. Many tools do so only when the first bytes of the session have reached them, so the timeout
 * starts then.
 */
function awaitReturn(
  { returned, close }: SessionHeader,
  { name, ta, length, timeout }: { name: string; ta: Socket; length: number; timeout: number },
): Promise<Socket> {
  let over = false;
  void returned.then((socket) => {
    if (over) socket.destroy();
  });
  return new Promise((resolve, reject) => {
    let late: NodeJS.Timeout | undefined;
    const check = () => {
      if (ta.bytesWritten <= length) return;
      clearInterval(checks);
      const message = `The tool ${name} did not connect back in ${timeout / 1000} s`;
      late = setTimeout(() => fail(message, "ETIMEDOUT"), timeout);
    };
    const checks = setInterval(check, Math.min(timeout, CHECK_INTERVAL));
    const settle = (conclude: () => void) => {
      if (over) return;
      clearInterval(checks);
      clearTimeout(late);
      ta.off("close", onClose);
      close();
      conclude();
      over = true;
    };
    const fail = (message: string, code: string) => settle(() => reject(new NetworkError(message, code)));
    const onClose = () => fail(`The tool ${name} closed the connection and did not connect back`, "ECONNRESET");
    ta.once("close", onClose);
    void returned.then((socket) => settle(() => resolve(socket)));
  });
}

/** Connects Ta: paused and half-open capable. */
function reach({ name, address: { host, port } }: ProxyTool, timeout: number): Promise<Socket> {
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true });
  return new Promise((resolve, reject) => {
    const fail = (code: string) => {
      clearTimeout(late);
      socket.destroy();
      reject(new NetworkError(`Cannot reach the tool ${name} at ${host} port ${port}: ${code}`, code));
    };
    // When the process was suspended, timers run before the events of sockets: the connection may be there already.
    const late = setTimeout(() => setImmediate(() => socket.connecting && fail("ETIMEDOUT")), timeout);
    // Later errors reach the relay. Until it listens, one must not end the process.
    socket.on("error", ({ code }: NodeJS.ErrnoException) => fail(code ?? "ECONNREFUSED"));
    socket.once("connect", () => {
      clearTimeout(late);
      socket.pause();
      resolve(socket);
    });
  });
}

/** ms for which a connection back to the node may be the tool's reaction to a heartbeat. */
const HEARTBEAT_REACTION = 10_000;

/** The heartbeat: connects to the tool with a PROXY header of a health check. Throws NetworkError. */
export async function probeProxyTool(
  tool: ProxyTool,
  timeout: number,
  directory: Pick<ReturnsDirectory, "expectHeartbeat" | "forgetHeartbeat">,
): Promise<void> {
  const socket = await reach(tool, timeout);
  // Some tools connect back for a health check too. That connection is no stranger.
  const keys = [connectionKey(tool.name, socket)];
  directory.expectHeartbeat(keys);
  setTimeout(() => directory.forgetHeartbeat(keys), HEARTBEAT_REACTION).unref();
  socket.setTimeout(timeout, () => socket.destroy());
  socket.resume();
  if (tool.header === "sslproxy") socket.end();
  else socket.end(LOCAL_HEADER);
}
