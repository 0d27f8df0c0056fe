import { randomBytes, randomInt } from "node:crypto";
import type { End } from "../engine/end.ts";
import { END, NOTHING_NOW } from "../engine/layer.ts";
import { type Loop, SCRATCH } from "../engine/loop.ts";
import { until } from "../engine/wait.ts";
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
export async function probeInlineTool(loop: Loop, tool: InlineTool, timeout: number): Promise<void> {
  const path = { loop, namespace: namespaceOf(tool), owner: HEARTBEAT };
  const deadline = performance.now() + timeout;
  const open: End[] = [];
  try {
    const listener = listenAtB({ ...path, family: 4 }, (tb) => {
      open.push(tb);
      // The wait at Ta reports every failure.
      echo(tb, deadline).catch(() => {});
    });
    open.push(listener);
    const ta = await dialAtA(path, { address: FROM, port: randomInt(1024, 65_536) }, TO, timeout);
    open.push(ta);
    const nonce = randomBytes(NONCE);
    say(ta, nonce);
    const heard = await readToEnd(ta, deadline);
    if (!heard.equals(nonce)) throw new NetworkError("the heartbeat came back with other bytes", "EPROTO");
  } catch (error) {
    if (!(error instanceof NetworkError) || error.code === "EPROTO") throw error;
    const { code } = error;
    if (code === "ETIMEDOUT") throw new NetworkError(`no heartbeat came through in ${timeout} ms`, code);
    throw new NetworkError(`the heartbeat did not come through: ${code}`, code, { cause: error });
  } finally {
    for (const end of open) end.close();
  }
}

async function echo(tb: End, deadline: number): Promise<void> {
  say(tb, await readToEnd(tb, deadline));
}

/** So few bytes are sent at once, so the FIN follows them. */
function say(end: End, bytes: Buffer): void {
  end.writeBytes(bytes);
  end.fin();
}

/** Reads to the end, or until there is more than was sent. */
function readToEnd(end: End, deadline: number): Promise<Buffer> {
  const { scratch, scratchAt } = end.loop;
  let bytes = Buffer.alloc(0);
  const attempt = () => {
    while (bytes.length <= NONCE) {
      const came = end.read(scratchAt, SCRATCH);
      if (came === NOTHING_NOW) return undefined;
      if (came === END) return bytes;
      if (came < 0) throw new NetworkError("The tool reset the heartbeat's connection", "ECONNRESET");
      bytes = Buffer.concat([bytes, scratch.subarray(0, came)]);
    }
    return bytes;
  };
  return until([end], attempt, { timeout: Math.max(1, deadline - performance.now()), late: "No heartbeat came back" });
}
