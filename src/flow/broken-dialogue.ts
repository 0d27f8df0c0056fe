import { PeerError } from "../errors.ts";
import { ALERTS } from "../wire/alert.ts";
import type { Layer, Story } from "./story.ts";

/** The part of a session's story in which a peer breaks a plaintext dialogue in a way that could hide something. */

/** Bytes hidden behind a broken dialogue must reach nobody: both peers are reset. */
export function dropConversation(story: Story, { client, server }: Layer, { message, side }: PeerError): string {
  const { session } = story;
  story.ending = { by: side, code: "startTls" };
  session.note({ verdict: "drop", phase: "sni", rule: "startTls", reason: message });
  client.reset();
  server.reset();
  return `Dropped: ${message}`;
}

export function notTls(fromServer: Buffer): PeerError {
  const alert = ALERTS.unexpected_message;
  return fromServer.length > 0
    ? new PeerError("The server sent more after its agreement to TLS", alert, { side: "server" })
    : new PeerError("The client did not begin TLS once the server had agreed", alert, { side: "client" });
}
