import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { VERSIONS } from "../vocabulary.ts";
import type { ClientHello } from "../wire/client-hello.ts";
import { groupById } from "../wire/groups.ts";
import { writeProbe } from "../wire/probe.ts";
import { createServerFlightReader } from "../wire/server-hello.ts";
import { signatureSchemeById } from "../wire/signature-schemes.ts";
import { suiteById } from "../wire/suites.ts";

/**
 * Finds out on a new connection whether a server demands a client certificate. Up to TLS 1.2 the server's first flight says
 * so in plaintext (RFC 5246, section 7.4.4), but OpenSSL does not pass this on. A server that does not answer, or answers
 * something else, demands none. `timeout` in ms for the whole exchange.
 */
export async function probeServer(dial: () => Promise<Socket>, hello: ClientHello, timeout: number): Promise<boolean> {
  const maxVersion = hello.versions.find((version) => version <= VERSIONS["TLSv1.2"]);
  if (maxVersion === undefined) return false;
  const probe = writeProbe({
    maxVersion,
    suites: hello.cipherSuites.filter((id) => suiteById(id) && suiteById(id)?.versions !== "1.3"),
    groups: hello.supportedGroups.filter((id) => groupById(id)),
    signatureAlgorithms: hello.signatureAlgorithms.filter((id) => signatureSchemeById(id)),
    serverName: hello.serverName,
    alpn: hello.alpnProtocols,
    random: randomBytes(32),
  });
  let socket: Socket;
  try {
    socket = await dial();
  } catch {
    return false;
  }
  try {
    return await requestsCertificate(socket, probe, timeout);
  } finally {
    socket.destroy();
  }
}

function requestsCertificate(socket: Socket, probe: Buffer, timeout: number): Promise<boolean> {
  const reader = createServerFlightReader();
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), timeout);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(false);
    });
    socket.on("data", (bytes: Buffer) => {
      try {
        const flight = reader.push(bytes);
        if (flight.kind === "more") return;
        resolve(flight.kind === "flight" && flight.certificateRequested);
      } catch {
        // A server that breaks TLS has not asked for a certificate.
        resolve(false);
      }
      clearTimeout(timer);
    });
    socket.once("end", () => socket.destroy());
    socket.resume();
    socket.write(probe);
  });
}
