import type { End, Network } from "./network.ts";
import { PYTHON } from "./requirements.ts";

const SENDER = new URL("./programs/frames.py", import.meta.url).pathname;

/** The hardware address of a host's interface. */
export async function hardware(host: Pick<End, "must">, device: string): Promise<Buffer> {
  const [link] = JSON.parse(await host.must("ip", ["-j", "link", "show", "dev", device])) as [{ address: string }];
  return Buffer.from(link.address.replaceAll(":", ""), "hex");
}

/** The hardware addresses of a sender, and of its next hop toward the other end. */
export async function wayBetween(
  { topology, client, server, node }: Network,
  from: End,
): Promise<{ readonly source: Buffer; readonly next: Buffer }> {
  const to = from === client ? server : client;
  const router = from === client ? node.networkA : node.networkB;
  const next = topology === "bridge" ? hardware(to, to.interface) : hardware(node, router);
  return { source: await hardware(from, from.interface), next: await next };
}

/** Sends Ethernet frames from a host, unchanged. */
export async function sendFrames(from: End, frames: readonly Buffer[]): Promise<void> {
  const input = frames.map((frame) => frame.toString("hex")).join("\n");
  await from.must(PYTHON, [SENDER, from.interface], { input });
}
