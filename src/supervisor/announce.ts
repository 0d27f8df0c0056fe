import { join } from "node:path";
import { writeNodeFile } from "../config/data-folder.ts";
import { feedPlace } from "../config/feed.ts";
import { textOf } from "../config/formats.ts";
import { listenerPlace } from "../config/listener.ts";
import type { Config } from "../config/schema.ts";
import { toolPlace } from "../config/tool.ts";
import type { Control } from "../control/server.ts";
import { log } from "../log.ts";
import { capacityNow } from "./capacity.ts";
import type { NodeState } from "./state.ts";

/** Prints what the user needs first: where the node listens, its console and its CA. */
export function announce(state: NodeState, control: Control): void {
  const { active, authorities, workers } = state;
  const { config, file } = active.loaded;
  const { sessions, bound } = capacityNow(state);
  const lines = [
    `Clearline runs with ${file ?? "the embedded default"}`,
    ...config.listeners.map((one) => `  ${one.mode.padEnd(9)} ${listenerPlace(one)}  (${one.name})`),
    `  console   http${control.address.certificate === undefined ? "" : "s"}://${textOf(control.address)}/  (token: ${join(config.dataDir, "token")})`,
    `  CA        ${join(config.dataDir, "ca")}  (${authorities.find("primary", "ecdsa").certificate.subject.replaceAll("\n", ", ")})`,
    ...(hasOwnHost(config)
      ? [`  trust     http://${config.signing.downloadHost}/  (through the proxy: the CA for clients)`]
      : []),
    `  sessions  up to ${sessions * workers.count}  (${bound})`,
    ...config.tools.map((tool) => `  tool      ${toolPlace(tool)}  (${tool.name}, ${tool.kind})`),
    ...config.feeds.map((feed) => `  feed      ${feedPlace(feed)}  (${feed.name}, ${feed.kind})`),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** An explicit proxy answers for a host of the node's own. */
function hasOwnHost({ listeners, signing }: Config): boolean {
  return signing.downloadHost !== "off" && listeners.some(({ mode }) => mode === "explicit");
}

/** The commands find the node by this file, or without it by `console.address` in their configuration. */
export function announceAddress(dataDir: string, { address }: Control): void {
  try {
    writeNodeFile(dataDir, address);
  } catch (error) {
    log.warn({ error: (error as Error).message }, "Cannot write node.json; commands find this node by console.address");
  }
}
