import { createServer, type Server, type Socket } from "node:net";
import { ConfigError, NetworkError } from "../errors.ts";
import { type ProxyHeader, plainAddress, readProxyHeader } from "../wire/proxy-protocol.ts";

/** Where a proxy tool connects back to: Tb. */
export interface Door {
  /** What it listens at. */
  readonly address: string;
  readonly port: number;
  /** Takes no more connections. */
  close(): void;
}

/**
 * Accepts connections, each paused and half-open capable, with the address of whoever connects. `shared`: other workers
 * listen there too. Throws ConfigError, with the path of the address, when it cannot be had.
 */
export function openDoor(
  where: { readonly host: string; readonly port: number; readonly path: string; readonly shared: boolean },
  accept: (socket: Socket, from: string) => void,
): Promise<Door> {
  const { host, port, path, shared } = where;
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
    socket.on("error", () => {});
    if (socket.remoteAddress === undefined) socket.destroy();
    else accept(socket, plainAddress(socket.remoteAddress));
  });
  return new Promise((resolve, reject) => {
    server.once("error", ({ code = "an unknown error" }: NodeJS.ErrnoException) =>
      reject(new ConfigError(path, `Cannot listen at ${host} port ${port} (${path}): ${code}`)),
    );
    server.listen({ host, port, reusePort: shared }, () => {
      server.removeAllListeners("error");
      server.on("error", () => {});
      resolve({ ...placeOf(server), close: () => void server.close() });
    });
  });
}

function placeOf(server: Server): { readonly address: string; readonly port: number } {
  const place = server.address();
  return typeof place === "object" && place ? place : { address: "", port: 0 };
}

/** The header that begins a connection, and what was read behind it. Undefined: it ended without a word, or said it was a test. */
export interface Introduction {
  readonly header: ProxyHeader;
  readonly rest: Buffer;
}

/**
 * Reads the PROXY header; the socket is left paused. Rejects with PeerError when it is malformed, with NetworkError when the
 * connection breaks or the header is not there after `timeout` ms.
 */
export function readIntroduction(socket: Socket, timeout: number): Promise<Introduction | undefined> {
  let bytes = Buffer.alloc(0);
  return new Promise((resolve, reject) => {
    const settle = (conclude: () => void) => {
      clearTimeout(late);
      socket.off("readable", onReadable).off("end", onEnd).off("close", onClose);
      conclude();
    };
    const onReadable = () => {
      for (let part: Buffer | null = socket.read(); part !== null; part = socket.read()) {
        bytes = Buffer.concat([bytes, part]);
      }
      try {
        const reading = readProxyHeader(bytes);
        if (reading.kind === "more") return;
        const rest = bytes.subarray(reading.length);
        settle(() => resolve(reading.header.command === "local" ? undefined : { header: reading.header, rest }));
      } catch (error) {
        settle(() => reject(error));
      }
    };
    const onEnd = () =>
      settle(() => {
        if (bytes.length === 0) resolve(undefined);
        else reject(new NetworkError("The tool ended its connection within the PROXY header", "ECONNRESET"));
      });
    const onClose = () =>
      settle(() => reject(new NetworkError("The tool's connection closed before its PROXY header", "ECONNRESET")));
    const late = setTimeout(() => {
      settle(() => reject(new NetworkError(`The tool sent no PROXY header in ${timeout} ms`, "ETIMEDOUT")));
    }, timeout);
    socket.on("readable", onReadable).on("end", onEnd).on("close", onClose);
  });
}
