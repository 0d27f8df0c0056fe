/**
 * A listening program for SSLproxy: it reads the line before the first bytes, connects to the address in that line, and relays
 * everything there, with the line ("keep") or without it ("strip"). Arguments: port, keep or strip.
 */
import { connect, createServer } from "node:net";

const [port, way] = process.argv.slice(2);

createServer({ allowHalfOpen: true }, (socket) => {
  let begun = Buffer.alloc(0);
  socket.on("error", () => socket.destroy());
  socket.on("data", function read(bytes: Buffer) {
    begun = Buffer.concat([begun, bytes]);
    const end = begun.indexOf("\r\n");
    if (end === -1) return;
    socket.off("data", read).pause();
    const line = begun.toString("latin1", 0, end);
    const [, host, back] = /^SSLproxy: \[([^\]]+)\]:(\d+),/.exec(line) ?? [];
    if (host === undefined) {
      socket.destroy();
      return;
    }
    console.log(line);
    const onward = connect({ host, port: Number(back), allowHalfOpen: true });
    onward.on("error", () => socket.destroy());
    onward.write(way === "keep" ? begun : begun.subarray(end + 2));
    socket.pipe(onward);
    onward.pipe(socket);
  });
}).listen(Number(port), "127.0.0.1", () => console.log("READY"));
