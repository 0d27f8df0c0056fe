import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import type { Server, Socket } from "node:net";
import { NetworkError } from "../errors.ts";
import { HEARTBEAT, namespaceOf } from "../kernel/tool/numbers.ts";
import { dialAtA, type InlineTool, listenAtB } from "./inline-tool.ts";

/** Documentation addresses (RFC 5737) and the discard port (RFC 863), so that heartbeats are recognisable in a tool's log. */
const FROM = "192.0.2.77";
const TO = { address: "198.51.100.77", port: 9 } as const;
const NONCE = 16;

/**
 * The heartbeat: sends a nonce through the tool and back, on a connection like that of a session. Rejects with NetworkError when it has
 * not come back in `timeout` ms.
 */
export async function probeInlineTool(tool: InlineTool, timeout: number): Promise<void> {
  const path = { namespace: namespaceOf(tool), owner: HEARTBEAT };
  const open: Socket[] = [];
  let server: Server | undefined;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeout);
  try {
    server = await listenAtB({ ...path, family: 4 }, (socket) => {
      open.push(socket);
      socket.pipe(socket);
    });
    const ta = await dialAtA(path, { address: FROM, port: randomInt(1024, 65_536) }, TO, timeout);
    open.push(ta);
    const nonce = randomBytes(NONCE);
    ta.end(nonce);
    const heard = await read(ta, late.signal);
    if (!heard.equals(nonce)) throw new NetworkError("the heartbeat came back with other bytes", "EPROTO");
  } catch (error) {
    if (late.signal.aborted) throw new NetworkError(`no heartbeat came through in ${timeout} ms`, "ETIMEDOUT");
    if (error instanceof NetworkError) throw error;
    const code = (error as NodeJS.ErrnoException).code ?? "EIO";
    throw new NetworkError(`the heartbeat did not come through: ${code}`, code, { cause: error });
  } finally {
    clearTimeout(timer);
    server?.close();
    for (const socket of open) socket.destroy();
  }
}

/** Reads to the end, or until there is more than was sent. */
async function read(ta: Socket, signal: AbortSignal): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  ta.on("data", (part: Buffer) => {
    parts.push(part);
    length += part.length;
    if (length > NONCE) ta.destroy();
  });
  ta.resume();
  await once(ta, "end", { signal });
  return Buffer.concat(parts);
}
