import { dial } from "../engine/dial.ts";
import type { End } from "../engine/end.ts";
import type { Arrival } from "./arrival.ts";
import type { CaptureContext } from "./mode.ts";
import { savedHeader } from "./way.ts";

/** Makes how a client's servers are dialled: from this machine's own address, in the traffic class of the client's SYN. */
export function dialingFor(
  loop: CaptureContext["loop"],
  settings: CaptureContext["settings"],
): (client: End) => Arrival["dial"] {
  return (client) => {
    const trafficClass = savedHeader(client)?.trafficClass;
    const header = trafficClass === undefined ? {} : { trafficClass };
    return (addresses, port) => dial(loop, addresses, port, settings().timeouts.connect, header);
  };
}
