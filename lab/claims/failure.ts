import assert from "node:assert/strict";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { type Request, startLoad } from "../load.ts";

const CLIENTS = 8;
/** Requests that must succeed before the kill, and after it. */
const ENOUGH = 40;
/** ms: long enough for a second SYN. */
const SHORT_PATIENCE = 1500;

/** What happens to traffic when the node dies. Each of these kills its node. */
export const OPEN_WORKERS: Claim = {
  says: "failure: open. All workers are killed (SIGKILL) under load: new connections still succeed, and are decrypted again once the workers are back",
  async check(stage) {
    const { before, killed, after } = await killUnderLoad(stage, (pids) => pids.slice(1));
    const first = after.find(({ by }) => by !== undefined)!;
    const decrypted = after.find(({ by }) => by === "node")!;
    return [
      `${before} requests before; the first new connection to succeed: after ${ms(first.end - killed)}, decrypted again after ${ms(decrypted.end - killed)}`,
      `${failed(after)} of ${after.length} new connections failed, ${after.filter(({ by }) => by === "server").length} went past the node`,
    ].join("; ");
  },
};

export const OPEN_NODE: Claim = {
  says: "failure: open. The whole node is killed (SIGKILL) under load: the kernel forwards new connections",
  async check(stage) {
    const { before, killed, after } = await killUnderLoad(stage, (pids) => pids, "server");
    const first = after.find(({ by }) => by === "server")!;
    assert.ok(after.every(({ by }) => by !== "node"));
    return `${before} requests before; traffic flows again after ${ms(first.end - killed)}; ${failed(after)} of ${after.length} new connections failed`;
  },
};

export const CLOSED_WORKERS: Claim = {
  says: "failure: closed. All workers are killed (SIGKILL) under load: no connection bypasses the node, and new ones are decrypted again once the workers are back",
  async check(stage) {
    const { before, killed, after } = await killUnderLoad(stage, (pids) => pids.slice(1));
    assert.equal(after.filter(({ by }) => by === "server").length, 0);
    const first = after.find(({ by }) => by === "node")!;
    return `${before} requests before; traffic flows again after ${ms(first.end - killed)}; ${failed(after)} of ${after.length} new connections failed, 0 went past the node`;
  },
};

export const CLOSED_NODE: Claim = {
  says: "failure: closed. The whole node is killed (SIGKILL) under load: no new connection reaches the server",
  async check(stage) {
    await using load = startLoad(stage, CLIENTS, SHORT_PATIENCE);
    await until("successful requests", () => answered(load.requests) >= ENOUGH, 30_000);
    const killed = performance.now();
    stage.node.kill(stage.node.pids());
    const after = await until("failed new connections", () => {
      const found = load.requests.filter(({ start }) => start > killed);
      return found.length >= CLIENTS && found;
    });
    assert.equal(answered(after), 0);
    return `0 of ${after.length} new connections were answered`;
  },
};

interface Killing {
  /** Requests that were answered before the kill. */
  readonly before: number;
  /** When, in ms of `performance.now`. */
  readonly killed: number;
  /** The requests that began after the kill. */
  readonly after: readonly Request[];
}

/** Kills some of the node's processes under load. Resolves once `by` has answered enough new connections. */
async function killUnderLoad(
  stage: Stage,
  choose: (pids: readonly number[]) => readonly number[],
  by: "node" | "server" = "node",
): Promise<Killing> {
  await using load = startLoad(stage, CLIENTS);
  await until("successful requests", () => answered(load.requests) >= ENOUGH, 30_000);
  const before = load.requests.length;
  const victims = choose(stage.node.pids());
  assert.ok(victims.length > 0);
  const killed = performance.now();
  stage.node.kill(victims);
  const after = await until(
    `${ENOUGH} new connections that the ${by} answered`,
    () => {
      const found = load.requests.filter(({ start }) => start > killed);
      return found.filter((request) => request.by === by).length >= ENOUGH && found;
    },
    30_000,
  );
  return { before, killed, after: after.toSorted((a, b) => a.end - b.end) };
}

function answered(requests: readonly Request[]): number {
  return requests.filter(({ by }) => by !== undefined).length;
}

function failed(requests: readonly Request[]): number {
  return requests.length - answered(requests);
}

function ms(time: number): string {
  return `${time.toFixed(0)} ms`;
}
