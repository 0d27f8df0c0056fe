import { requiredPorts } from "../config/listening.ts";
import type { Loaded } from "../config/load.ts";
import { listenConfigured } from "../engine/listen.ts";
import type { Loop } from "../engine/loop.ts";

/** Checks that every new port is free. Ports that the node listens at already cannot be checked. Throws ConfigError. */
export async function checkListenersFree(loop: Loop, { config }: Loaded, before: Loaded | undefined): Promise<void> {
  const own = before ? requiredPorts(before.config).map(({ port }) => port) : [];
  for (const place of requiredPorts(config)) if (!own.includes(place.port)) await checkFree(loop, place);
}

/** SO_REUSEPORT lets two nodes of one user share a port without an error. Only an exclusive bind shows that it is taken. */
export async function checkFree(
  loop: Loop,
  where: { readonly host: string; readonly port: number; readonly path: string },
): Promise<void> {
  const listener = await listenConfigured(loop, where.path, { ...where, shared: false }, (client) => client.close());
  listener.close();
}
