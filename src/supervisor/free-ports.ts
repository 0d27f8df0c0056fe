import { requiredPorts } from "../config/listening.ts";
import type { Loaded } from "../config/load.ts";
import { checkFree } from "../linux/listen.ts";

/** Checks that every new port is free. Ports that the node listens at already cannot be checked. Throws ConfigError. */
export async function checkListenersFree({ config }: Loaded, before: Loaded | undefined): Promise<void> {
  const own = before ? requiredPorts(before.config).map(({ port }) => port) : [];
  for (const place of requiredPorts(config)) if (!own.includes(place.port)) await checkFree(place);
}
