import { textOf } from "./formats.ts";
import type { Config } from "./schema.ts";

/** Where a listener stands, on one line for people: "127.0.0.1:8080", "0.0.0.0:8443 to 10.0.0.5:443", "eth1 to eth2 (bridge)". */
export function listenerPlace(listener: Config["listeners"][number]): string {
  switch (listener.mode) {
    case "explicit":
      return textOf(listener.address);
    case "forward":
      return `${textOf(listener.address)} to ${textOf(listener.server)}`;
    case "inline":
      return `${listener.networkA} to ${listener.networkB} (${listener.topology})`;
  }
}
