import type { Sample } from "./series.ts";
import type { NodeState } from "./state.ts";
import { feedInfos } from "./statistics.ts";

/** What the node's parts say now. */
export function sampleOf(state: NodeState): Sample {
  const { sessions, watch, active } = state;
  const bytes = { clientReceived: 0, clientSent: 0, serverReceived: 0, serverSent: 0 };
  let opened = 0;
  for (const listener of Object.values(sessions.counters())) {
    opened += listener.total;
    for (const name of ["clientReceived", "clientSent", "serverReceived", "serverSent"] as const)
      bytes[name] += listener.bytes[name];
  }
  const { tools } = active.loaded.config;
  const toolsDown = tools.filter(({ name }) => watch.state(name)?.up === false).length;
  const feeds = feedInfos(state);
  const feedsStopped = feeds.filter((feed) => feed.state === "stopped").length;
  return {
    ...{ live: sessions.size, opened, bytes },
    ...{ toolsUp: tools.length - toolsDown, toolsDown },
    ...{ feedsRunning: feeds.length - feedsStopped, feedsStopped },
    feedBytes: feeds.reduce((sum, feed) => sum + feed.bytes, 0),
    feedDropped: feeds.reduce((sum, { dropped }) => sum + dropped, 0),
  };
}
