import type { JudgedServer } from "../pki/verify/judge.ts";
import { hostOf, type Story, serverKeyOf, type TlsLayer } from "./story.ts";

/**
 * The names of the certificate that is issued for the client, where not all of the server's may be in it: with a certificate for
 * another host the client would use this connection for that host too.
 */
export function namesToShow(
  { node, session }: Story,
  { facts, received, destination, endpoint }: TlsLayer,
  judged: JudgedServer,
): readonly string[] | undefined {
  const { demandingCertificate, bindingLogin } = node.servers;
  const names = node.policy.namesAlike({ ...facts, certificate: judged.facts }, (host) => ({
    clientCertificateDemanded: demandingCertificate.has(serverKeyOf(host, endpoint)),
    channelBound: bindingLogin.has(serverKeyOf(host, endpoint)),
    certificateRefused: node.servers.refusesCertificate(session.client.address, host, endpoint.port),
  }));
  if (!names) return undefined;
  const asked = hostOf(received.hello, destination);
  // The asked name stays, also where a wildcard stood for it. One that the server's certificate is not for is not made good.
  const isCovered = asked !== undefined && !judged.facts.faults.includes("hostMismatch");
  const all = isCovered && !names.includes(asked) ? [asked, ...names] : names;
  // Without any the client could not accept it.
  return all.length > 0 ? all : undefined;
}
