import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import type { FeedSession } from "../feeds/feed.ts";
import { createMessageReader, MESSAGES, type Message } from "../feeds/http-link.ts";
import { makeFolder } from "../linux/folder.ts";
import type { View, ViewedSession } from "./view.ts";

/** The longest path in a struct sockaddr_un, in bytes, without the zero at its end. */
const LONGEST_PATH = 107;

/** Takes the plaintext that the workers send. Throws the system's errors where it cannot listen. */
export async function openIntake(path: string, view: View): Promise<Intake> {
  const workers = new Set<Socket>();
  const server = createServer((socket) => {
    workers.add(socket.on("close", () => workers.delete(socket)));
    serve(socket, view);
  });
  if (Buffer.byteLength(path) > LONGEST_PATH)
    throw new Error(`its socket ${path} has more than ${LONGEST_PATH} bytes: shorten dataDir or the feed's name`);
  await makeFolder(dirname(path));
  // The one before this process left it.
  await rm(path, { force: true });
  server.listen({ path });
  await once(server, "listening");
  server.on("error", () => {});
  return {
    close() {
      server.close();
      for (const socket of workers) socket.destroy();
    },
  };
}

export interface Intake {
  close(): void;
}

/** One worker. The numbers of its sessions are its own. */
function serve(socket: Socket, view: View): void {
  const sessions = new Map<number, ViewedSession>();
  const read = createMessageReader(
    (message) => take(message, sessions, view),
    () => socket.destroy(),
  );
  socket.on("data", read);
  socket.on("error", () => {});
  socket.on("close", () => {
    // The worker has ended, and its sessions with it; or it has another setup.
    for (const session of sessions.values()) session.close(Date.now());
    sessions.clear();
  });
}

function take(
  { kind, session: number, time, payload }: Message,
  sessions: Map<number, ViewedSession>,
  view: View,
): void {
  if (kind === MESSAGES.open) {
    sessions.set(number, view.open(JSON.parse(payload.toString()) as FeedSession, time));
    return;
  }
  const session = sessions.get(number);
  if (!session) return;
  TAKES[kind]?.(session, payload, time);
  if (kind === MESSAGES.close || kind === MESSAGES.lost) sessions.delete(number);
}

const TAKES: Readonly<Record<number, (session: ViewedSession, payload: Buffer, time: number) => void>> = {
  [MESSAGES.client]: (session, payload, time) => session.data("client", payload, time),
  [MESSAGES.server]: (session, payload, time) => session.data("server", payload, time),
  [MESSAGES.endClient]: (session, _, time) => session.end("client", false, time),
  [MESSAGES.endServer]: (session, _, time) => session.end("server", false, time),
  [MESSAGES.cutClient]: (session, _, time) => session.end("client", true, time),
  [MESSAGES.cutServer]: (session, _, time) => session.end("server", true, time),
  [MESSAGES.resetClient]: (session, _, time) => session.reset("client", time),
  [MESSAGES.resetServer]: (session, _, time) => session.reset("server", time),
  [MESSAGES.close]: (session, _, time) => session.close(time),
  [MESSAGES.lost]: (session, _, time) => session.leaveBehind("left behind: the view could not follow", time),
};
