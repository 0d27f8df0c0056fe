import type { Socket } from "node:net";
import { log } from "../log.ts";
import type { SessionNews, ToWorker } from "../messages.ts";
import type { MintRequest } from "../pki/issue/mint.ts";
import type { Applied } from "../sessions/table.ts";
import { sessionLine } from "./log/session-line.ts";
import { noticeRefusals } from "./pinning.ts";
import { noteHits } from "./policy-hits.ts";
import type { NodeState } from "./state.ts";

/** Handles one message of a worker, and sends the answer when it wants one. */
export function hearWorker(state: NodeState, message: SessionNews, worker: number, socket: Socket | undefined): void {
  const reply = (answer: ToWorker) => state.workers.send(worker, answer);
  switch (message.kind) {
    case "sessions":
      state.bypasses.note(message.changes);
      noteHits(state, message.changes, Date.now());
      publish(state, state.sessions.apply(message.changes));
      break;
    case "mint":
      void mint(state, message.wanted).then((answer) => reply({ ...answer, request: message.request }));
      break;
    case "demanding":
      learnDemanding(state, message.server, message.until);
      state.sharing.fleet?.learn(message.server, message.until);
      log.info(
        { server: message.server },
        "A server demands a client certificate; the policy's clientCertificate holds for it now",
      );
      break;
    case "binding":
      state.binding.learn(message.server, message.until);
      state.workers.tell(message);
      log.warn(
        { server: message.server },
        "A client bound its log-in to the TLS channel, which cannot work decrypted; policy.channelBinding holds for this server now",
      );
      break;
    case "offering":
      state.workers.tell(message);
      break;
    case "ftp session": {
      const others = state.workers.list().filter(({ id }) => id !== worker);
      const sent = others.filter(({ id }) => state.workers.send(id, { ...message, worker }));
      reply({ kind: "ftp session sent", request: message.request, workers: sent.length });
      break;
    }
    case "ftp session taken":
      state.workers.send(message.worker, { kind: message.kind, request: message.request });
      break;
    case "find session":
      void state.sharing
        .findSession(message.name)
        .then((sealed) => reply({ kind: "session", request: message.request, sealed }));
      break;
    case "put session":
      state.sharing.putSession(message.name, message.sealed, message.until);
      break;
    case "forget session":
      state.sharing.forgetSession(message.name);
      state.workers.tell(message);
      break;
    case "tool failed":
      state.watch.failed(message.name, message.reason);
      break;
    case "expect":
    case "forget":
    case "whose":
    case "hand over":
      state.returns.hear(message, worker, socket);
      break;
    default:
      message satisfies never;
  }
}

/** Issues a certificate, or says why it cannot. Never rejects. */
async function mint(state: NodeState, wanted: MintRequest) {
  try {
    // A Buffer arrives from a worker as a Uint8Array.
    const request = { ...wanted, certificate: wanted.certificate && Buffer.from(wanted.certificate) };
    return { kind: "minted", minted: await state.mint.issue(request, Date.now()) } as const;
  } catch (error) {
    const { message } = error as Error;
    log.error({ error: message }, "Cannot issue a certificate");
    return { kind: "mint failed", message } as const;
  }
}

/** A worker or another node has learnt that a server demands a client certificate until then. */
export function learnDemanding({ demanding, workers }: NodeState, server: string, until: number): void {
  demanding.learn(server, until);
  workers.tell({ kind: "demanding", server, until });
}

/** Hands changes of the live table to the history and to the API's event streams. */
export function publish(state: NodeState, applied: Applied): void {
  const { history, subscribers, liveRecord } = state;
  noticeRefusals(state, applied.closed);
  state.series.note(applied);
  history.record(applied.closed);
  if (state.logsSessions) for (const session of applied.closed) log.info(sessionLine(session), "Session ended");
  liveRecord.note(applied, performance.now());
  for (const listener of subscribers) listener(applied);
}
