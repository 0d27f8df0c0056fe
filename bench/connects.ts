import { once } from "node:events";
import net from "node:net";

/**
 * A program: `connects.ts ADDRESS PORT COUNT`. Connects so many times, one after the other, and prints how many
 * milliseconds each took from the call to the connection as its client sees it. Nothing is sent; the next begins only when
 * both ends have closed, so that no connect waits for the end of another.
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
