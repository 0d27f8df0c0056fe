import { once } from "node:events";
import { createServer } from "node:net";
import { textOf } from "../../config/formats.ts";
import { requiredPorts } from "../../config/listening.ts";
import type { Loaded } from "../../config/load.ts";
import { bad, type Finding, ok } from "./check.ts";

/** Whether the node's ports are free for it; with a running node, whether something listens there. "unknown": one may run. */
export async function checkPorts({ config }: Loaded, node: "listens" | "stopped" | "unknown"): Promise<Finding[]> {
  const places = [...requiredPorts(config), { ...config.console.address, path: "console.address" }];
  const found = await Promise.all(
    places.map(async (place) => {
      const refused = await tryToListen(place);
      if (node === "unknown" && refused === "EADDRINUSE") return undefined;
      return node === "listens" ? judgeOwn(place, refused) : judgeFree(place, refused);
    }),
  );
  const wrong = found.filter((one) => one !== undefined);
  if (wrong.length > 0) return wrong;
  const all = places.map(textOf).join(", ");
  const says = {
    listens: `The node listens at ${all}`,
    stopped: `${all} are free`,
    unknown: `${all} are free, or a node listens there`,
  };
  return [ok(says[node])];
}

type Place = ReturnType<typeof requiredPorts>[number];

/** The system's code; undefined: the port is free, and it is again. */
async function tryToListen({ host, port }: Place): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, "listening");
    server.close();
    await once(server, "close");
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "EUNKNOWN";
  }
}

function judgeOwn(place: Place, refused: string | undefined): Finding | undefined {
  if (refused !== undefined) return undefined;
  const remedy = "Reload or start the node again; the configuration may have changed since it started";
  return bad(`Nothing listens at ${textOf(place)} (${place.path})`, remedy);
}

const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: "Find the program that listens there (ss -ltnp), or choose another port",
  EACCES: "Ports below 1024 need root or CAP_NET_BIND_SERVICE: docs/guide/operating.md",
  EADDRNOTAVAIL: "Give this machine that address, or choose another one",
  ENOTFOUND: "Write an address that this machine has",
};

function judgeFree(place: Place, refused: string | undefined): Finding | undefined {
  if (refused === undefined) return undefined;
  const remedy = REMEDIES[refused] ?? "See the system's error";
  return bad(`The node cannot listen at ${textOf(place)} (${place.path}): ${refused}`, remedy);
}
