/** Records the conversations of the SSL 3.0 engine anew, where OpenJDK 17 is: `node scripts/record-ssl3.ts`. */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import type { SavedSession } from "../src/ssl3/connection.ts";
import { buildJavaPeer, javaClient, ssl3Servers } from "../test/peers.ts";
import { CONVERSATIONS, type Conversation, fileOf, speak } from "../test/recorded/ssl3/recorded.ts";

// As small as the engine takes it, so that replays are cheap.
process.env["JAVA_TOOL_OPTIONS"] = "-Djdk.tls.ephemeralDHKeySize=1024";
const classes = await buildJavaPeer("Ssl3Peer.java");
const at = (name: string) => fileURLToPath(new URL(`../test/recorded/ssl3/${name}`, import.meta.url));
const identity = { certificate: at("small.pem"), key: at("small.key") };
const sessions = new Map<string, SavedSession>();

const [asServer, asClient] = (["server", "client"] as const).map((side) =>
  CONVERSATIONS.filter((conversation) => conversation.side === side),
);
const { origin } = await ssl3Servers(classes, { origin: { identity } });
for (const conversation of asClient!) {
  const socket = connect(origin.port, "127.0.0.1");
  await once(socket, "connect");
  await record(conversation, socket);
}
await origin.process.stop();
const client = javaClient(classes, "Ssl3Peer");

for (let first = 0; first < asServer!.length; ) {
  // A client resumes with the context that it had before.
  const times = asServer![first + 1]?.resumes === undefined ? 1 : 2;
  const listener = createServer();
  await once(listener.listen(0, "127.0.0.1"), "listening");
  const { versions, suite } = asServer![first]!;
  const port = (listener.address() as AddressInfo).port;
  const one = [`127.0.0.1:${port}`, "recorded.test", versions, suite, 300, times, "-"].join(",");
  const lines = client.get(identity.certificate, [one]);
  for (const conversation of asServer!.slice(first, first + times)) {
    const [socket] = (await once(listener, "connection")) as [Socket];
    await record(conversation, socket);
  }
  console.log((await lines).join("\n"));
  listener.close();
  first += times;
}
await client.process.stop();

async function record(conversation: Conversation, socket: Socket): Promise<void> {
  const session = conversation.resumes === undefined ? undefined : sessions.get(conversation.resumes);
  const { connection, on, established } = speak(conversation, session);
  const lines: string[] = [];
  const answer = () => {
    const bytes = connection.take();
    if (bytes.length === 0) return;
    lines.push(`> ${bytes.toString("hex")}`);
    socket.write(bytes);
  };
  answer();
  socket.setNoDelay(true);
  socket.on("data", (bytes: Buffer) => {
    lines.push(`< ${bytes.toString("hex")}`);
    for (const happening of connection.receive(bytes)) on(happening);
    answer();
  });
  await once(socket, "end");
  socket.end();
  const resumable = established()?.session;
  if (resumable) sessions.set(conversation.name, resumable);
  writeFileSync(fileOf(conversation.name), `${lines.join("\n")}\n`);
}
process.exit();
