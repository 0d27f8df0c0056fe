/**
 * A listening program as SSLproxy's are: it reads the line in front of the first packet, connects to the address that stands
 * in it, and sends everything there, the line too ("keep") or without it ("strip"). Arguments: port, keep or strip.
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
