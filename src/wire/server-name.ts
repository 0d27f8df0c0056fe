import { PeerError } from "../errors.ts";
import { ALERTS } from "./alert.ts";
import { readHost } from "./host-name.ts";
import { Reader } from "./reader.ts";

export interface ServerName {
  readonly serverName: string | undefined;
  readonly serverAddress: string | undefined;
}

const HOST_NAME = 0;

/** Characters that every parser reads alike: no NUL, control character, space or byte beyond ASCII. */
const PRINTABLE = /^[!-~]+$/;

/**
 * Reads the data of server_name: RFC 6066, section 3. Throws PeerError with illegal_parameter (RFC 8446, section 6.2) for
 * a name with bytes that another parser could read differently. A name such as "localhost:8443", which some clients send
 * and servers ignore, counts as no name: the session is then judged by the names in the server's certificate.
 */
export function readServerName(data: Reader): ServerName {
  const list = new Reader(data.vector16(1), "server_name");
  let name: Buffer | undefined;
  while (list.remaining > 0) {
    const type = list.u8();
    // A name must not be empty (RFC 6066, section 3), but servers take it for none.
    const entry = list.vector16();
    if (type !== HOST_NAME) continue;
    // "The ServerNameList MUST NOT contain more than one name of the same name_type."
    if (name) throw new PeerError("Cannot read server_name: it names two hosts", ALERTS.illegal_parameter);
    name = entry;
  }
  if (!name || name.length === 0) return { serverName: undefined, serverAddress: undefined };
  const text = name.toString("latin1");
  if (!PRINTABLE.test(text)) {
    throw new PeerError("Cannot read server_name: it has bytes that are not printable ASCII", ALERTS.illegal_parameter);
  }
  const host = readHost(text);
  return {
    serverName: host?.kind === "name" ? host.text : undefined,
    serverAddress: host?.kind === "address" ? host.text : undefined,
  };
}
