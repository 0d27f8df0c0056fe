import type { Socket } from "node:net";
import { log } from "../log.ts";
import type { FromWorker, ToWorker } from "../messages.ts";
import type { Applied } from "../sessions/table.ts";
import { isReturnsNews } from "../tools/returns.ts";
import type { NodeState } from "./state.ts";

/** What a worker has to say, and what it is answered. */
export function onMessage(state: NodeState, message: FromWorker, worker: number, socket: Socket | undefined): void {
  const reply = (answer: ToWorker) => state.workers.send(worker, answer);
  if (message.kind === "sessions") publish(state, state.sessions.apply(message.changes));
  if (message.kind === "demanding") {
    learn(state, message.server, message.until);
    state.sharing.fleet?.learn(message.server, message.until);
    log.info(
      { server: message.server },
      "A server demands a client certificate; the policy's clientCertificate holds for it now",
    );
  }
  if (message.kind === "put session") state.sharing.putSession(message.name, message.sealed, message.until);
  if (message.kind === "find session") {
    const { request, name } = message;
    void state.sharing.findSession(name).then((sealed) => reply({ kind: "session", request, sealed }));
  }
  if (message.kind === "forget session") {
    state.sharing.forgetSession(message.name);
    state.workers.tell(message);
  }
  if (isReturnsNews(message)) state.returns.hear(message, worker, socket);
  if (message.kind === "offering") state.workers.tell(message);
  if (message.kind === "tool failed") state.watch.failed(message.name, message.reason);
  if (message.kind === "mint") {
    const { request, wanted } = message;
    // What crossed the channel is a Uint8Array, whatever it was before.
    state.mint.present({ ...wanted, certificate: Buffer.from(wanted.certificate) }, Date.now()).then(
      (minted) => reply({ kind: "minted", request, minted }),
      (error: Error) => {
        log.error({ error: error.message }, "Cannot issue a certificate");
        reply({ kind: "mint failed", request, message: error.message });
      },
    );
  }
}

/** A server demands a client certificate until then: a worker or another node has found out. */
export function learn({ demanding, workers }: NodeState, server: string, until: number): void {
  demanding.learn(server, until);
  workers.tell({ kind: "demanding", server, until });
}

export function publish({ history, subscribers }: NodeState, applied: Applied): void {
  history.record(applied.closed);
  for (const listener of subscribers) listener(applied);
}
