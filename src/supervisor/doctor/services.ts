import { once } from "node:events";
import { connect } from "node:net";
import { textOf } from "../../config/formats.ts";
import type { Loaded } from "../../config/load.ts";
import { Store } from "../../fleet/store.ts";
import { bad, type Finding, ok, warning } from "./check.ts";

/** What the node depends on, while it does not run and cannot say so itself. */

/** ms that a tool or the store has to answer. */
const PATIENCE = 3_000;

/** Whether the proxy tools accept connections. The interfaces of inline tools are looked at with the kernel. */
export async function checkTools({ config }: Loaded): Promise<Finding[]> {
  const proxies = config.tools.flatMap((tool) => ("returnAddress" in tool ? [tool] : []));
  const found = await Promise.all(
    proxies.map(async ({ name, address, onFailure }) => {
      const refused = await tryToConnect(address);
      if (refused === undefined) return ok(`${name} accepts connections at ${textOf(address)}`);
      const effect = onFailure === "drop" ? "its sessions would be dropped" : "sessions would go on without it";
      return bad(
        `${name} cannot be reached at ${textOf(address)}: ${refused}; ${effect}`,
        "Start it, or correct its address",
      );
    }),
  );
  return found.length > 0 ? found : [ok("No proxy tool is configured")];
}

async function tryToConnect({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<string | undefined> {
  const socket = connect({ host, port });
  const late = setTimeout(() => socket.destroy(Object.assign(new Error("late"), { code: "ETIMEDOUT" })), PATIENCE);
  try {
    await once(socket, "connect");
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "EUNKNOWN";
  } finally {
    clearTimeout(late);
    socket.destroy();
  }
}

/** The folders of feeds are looked at with the disk. */
export async function checkFeeds({ config: { feeds } }: Loaded): Promise<Finding[]> {
  return [ok(feeds.length === 0 ? "None is configured" : `Configured: ${feeds.map(({ name }) => name).join(", ")}`)];
}

/** Whether the store that nodes share answers. Undefined: there is none. */
export async function checkStore({ config: { resumption } }: Loaded): Promise<Finding | undefined> {
  const { shared: url } = resumption;
  if (url === undefined) return undefined;
  const { promise: connected, resolve } = Promise.withResolvers<void>();
  const store = new Store({
    url,
    wait: PATIENCE,
    channels: ["clearline-doctor"],
    onMessage() {},
    onConnected: resolve,
    onAlone() {},
  });
  const late = setTimeout(resolve, PATIENCE);
  await connected;
  clearTimeout(late);
  const { state, reason } = store.state();
  store.close();
  if (state === "connected") return ok("It answers");
  return warning(`It does not answer: ${reason}`, "Start it, or correct resumption.shared; nodes work alone meanwhile");
}
