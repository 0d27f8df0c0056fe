import { once } from "node:events";
import tls from "node:tls";
import { CLIENTS } from "./loads.ts";
import { SMALL } from "./origin.ts";

/**
 * The program `returns.ts PORT VERSION SECONDS` runs clients that open one session after another with a small request, and
 * resume with what the session before gave them. Prints how many sessions there were, and how many resumed.
 */
const [port = "", version = "", seconds = ""] = process.argv.slice(2);
const deadline = performance.now() + Number(seconds) * 1000;
let served = 0;
let resumed = 0;

await Promise.all(Array.from({ length: CLIENTS }, comeBack));
console.log(JSON.stringify({ served, resumed }));

async function comeBack(): Promise<void> {
  let session: Buffer | undefined;
  while (performance.now() < deadline) {
    const socket = tls.connect({
      ...{ port: Number(port), host: "127.0.0.1", servername: "localhost", rejectUnauthorized: false },
      minVersion: version as tls.SecureVersion,
      maxVersion: version as tls.SecureVersion,
      ...(session && { session }),
    });
    socket.on("session", (given) => {
      session = given;
    });
    await once(socket, "secureConnect");
    if (socket.isSessionReused()) resumed += 1;
    socket.end(`GET ${SMALL} HTTP/1.0\r\nHost: localhost\r\n\r\n`);
    socket.resume();
    await once(socket, "close");
    served += 1;
  }
}
