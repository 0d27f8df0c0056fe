import { once } from "node:events";
import net from "node:net";

/**
 * The program `connects.ts ADDRESS PORT COUNT` connects COUNT times, one after another, and prints how many milliseconds each
 * connect took for the client. It sends nothing, and begins the next connect once both ends have closed.
 */
const [address, port, count] = process.argv.slice(2);
const WARM = 50;
const times: number[] = [];
for (let made = -WARM; made < Number(count); made++) {
  const before = performance.now();
  const socket = net.connect(Number(port), address);
  await once(socket, "connect");
  if (made >= 0) times.push(performance.now() - before);
  const closed = once(socket, "close");
  socket.resume().end();
  await closed;
}
console.log(JSON.stringify(times));
