import { isIP } from "node:net";
import { dial } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import type { Loop } from "../engine/loop.ts";
import { NetworkError } from "../errors.ts";
import { mappedPort } from "../port-map.ts";
import { resolveHost } from "../streams/resolve.ts";
import { openReturnAddress, type ReturnAddress } from "./return-address.ts";
import { proxyHeader, type SessionHeader, sslproxyLine } from "./session-header.ts";
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
  { loop, timeout, returns }: ToolContext,
  back: ReturnAddress,
  subject: ToolSubject,
): Promise<Hop> {
  const { name } = tool;
  const told = { ...subject, server: { ...subject.server, port: mappedPort(tool.ports, subject) } };
  for (const end of [told.client, told.server]) {
    if (isIP(end.address) === 0) throw new NetworkError("The session ended before its tools", "ECONNABORTED");
  }
  const header =
    tool.header === "sslproxy" ? sslproxyLine(told, back.openPort, returns) : proxyHeader(tool, told, returns);
  let ta: End | undefined;
  try {
    ta = await reachTool(loop, tool, timeout());
    back.learn(ta.remote()?.address ?? tool.address.host);
    const bytes = await inTime(header.write(ta), timeout());
    ta.writeBytes(bytes);
    const tb = awaitReturn(header, { name, ta, length: bytes.length, timeout: timeout() });
    return { tool: name, ta, tb, sieve: header.lineRemover };
  } catch (error) {
    ta?.close();
    header.close();
    throw error;
  }
}

/** The supervisor, which has to know of the session first, may be busy. Rejects with NetworkError after `timeout` ms. */
async function inTime<T>(written: Promise<T>, timeout: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const error = new NetworkError("The node was too busy to pass the session to its tool", "EBUSY");
  const timer = setTimeout(() => reject(error), timeout);
  try {
    return await Promise.race([written, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for the tool to connect back. Many tools do so only when the first bytes of the session have reached them, so the timeout
 * starts then.
 */
function awaitReturn(
  { returned, close }: SessionHeader,
  { name, ta, length, timeout }: { name: string; ta: End; length: number; timeout: number },
): Promise<End> {
  return new Promise((resolve, reject) => {
    let isOver = false;
    let late: NodeJS.Timeout | undefined;
    const settle = (conclude: () => void) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(late);
      ta.onWritten = undefined;
      close();
      conclude();
    };
    const fail = (message: string, code: string) => settle(() => reject(new NetworkError(message, code)));
    ta.onWritten = (total) => {
      if (total <= length) return;
      ta.onWritten = undefined;
      const message = `The tool ${name} did not connect back in ${timeout / 1000} s`;
      late = setTimeout(() => fail(message, "ETIMEDOUT"), timeout);
    };
    ta.onceClosed(() => fail(`The tool ${name} closed the connection and did not connect back`, "ECONNRESET"));
    void returned.then((back) => {
      if (isOver) back.close();
      else settle(() => resolve(back));
    });
  });
}

/** Connects to the tool, in `timeout` ms. Rejects with NetworkError. */
export async function reachTool(
  loop: Loop,
  { name, address: { host, port } }: ProxyTool,
  timeout: number,
): Promise<End> {
  const deadline = performance.now() + timeout;
  try {
    const addresses = await resolveHost(host, timeout);
    return await dial(loop, addresses, port, Math.max(1, deadline - performance.now()));
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    const { code } = error;
    throw new NetworkError(`Cannot reach the tool ${name} at ${host} port ${port}: ${code}`, code, { cause: error });
  }
}
