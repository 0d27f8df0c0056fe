import type { End } from "../engine/end.ts";
import type { Story } from "./story.ts";

/** The part of a session's story in which a client binds its log-in to the TLS channel, which is another one on the server's side. */

/**
 * Learns that clients do so at this server: the server refuses this log-in, and policy.channelBinding holds for the next sessions. Where
 * the client was shown the server's own certificate, a binding to the certificate is good.
 */
export function noticeBinding(story: Story, client: End, serverKey: string, ownCertificate: boolean): void {
  const { policy, servers, streams } = story.node;
  streams.watchLogin(client, ({ mechanism, toCertificate }) => {
    if (ownCertificate && toCertificate !== false) return;
    servers.bindingLogin.learn(serverKey);
    const then =
      policy.source.channelBinding?.action === "bypass" ? ": policy.channelBinding holds for its next sessions" : "";
    story.asked = `the client bound its log-in to the TLS channel (${mechanism}), which cannot work in a decrypted session${then}`;
  });
}
