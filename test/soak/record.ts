import type { Session } from "../../src/control/api.ts";
import type { TestNode } from "../node.ts";
import { until } from "../processes.ts";

/** What the node knows of a session that went wrong, in one line. `began`: in ms since the epoch. Never rejects. */
export async function recordOf(node: TestNode, port: number | undefined, began: number): Promise<string> {
  const find = async (): Promise<Session | undefined> =>
    (await node.sessions({})).find(({ client, start }) => client.port === port && start >= began - 1_000);
  const record = await until(
    "its end",
    async () => {
      const found = await find();
      return found?.end && found;
    },
    5_000,
  )
    .catch(find)
    .catch(() => undefined);
  if (!record) return `the node has no record of port ${port}`;
  // The certificates take a screen.
  return JSON.stringify(record, (key, value) => (/certificate/i.test(key) ? undefined : value));
}
