import { checkFree } from "../capture/listener.ts";
import type { Loaded } from "../config/load.ts";

/** Checks that every new port is free. Ports that the node listens at already cannot be checked. Throws ConfigError. */
export async function checkListenersFree({ config }: Loaded, before: Loaded | undefined): Promise<void> {
  const own = before ? placesOf(before.config).map(({ port }) => port) : [];
  for (const place of placesOf(config)) if (!own.includes(place.port)) await checkFree(place);
}

/** The addresses at which the workers listen. */
function placesOf({ listeners, tools }: Loaded["config"]): { host: string; port: number; path: string }[] {
  return [
    ...listeners.flatMap((listener, index) =>
      listener.mode === "inline" ? [] : [{ ...listener.address, path: `listeners[${index}].address` }],
    ),
    ...tools.flatMap((tool, index) =>
      tool.kind === "inline" || tool.header === "sslproxy"
        ? []
        : [{ ...tool.returnAddress, path: `tools[${index}].returnAddress` }],
    ),
  ];
}
