import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import tls from "node:tls";
import { DOMAIN } from "../../test/pki.ts";
import { until } from "../../test/processes.ts";
import type { Claim, Stage } from "../claim.ts";
import { serve } from "../ends.ts";
import { FAMILIES, type Family } from "../network.ts";
import { DROPPED } from "../node.ts";
import { PORTS } from "../servers.ts";

/** IRC: the client asks. Telnet (RFC 855, option 46): the server does. */
const TALKS = {
  irc: {
    greeting: Buffer.alloc(0),
    asked: Buffer.from("STARTTLS\r\n"),
    agrees: Buffer.from(":irc 670 lab :go ahead\r\n"),
  },
  telnet: {
    greeting: Buffer.from("fffd2e", "hex"),
    asked: Buffer.from("fffb2efffa2e01fff0", "hex"),
    agrees: Buffer.from("fffa2e01fff0", "hex"),
  },
} as const;
type Talk = keyof typeof TALKS;

/** TLS behind dialogues that the node does not know. */
export const FOUND_TLS: readonly Claim[] = FAMILIES.flatMap((family) => [
  ...(["irc", "telnet"] as const).map((talk) => isDecrypted(talk, family)),
  isDropped(family),
  isSeen(family),
]);

function isDecrypted(talk: Talk, family: Family): Claim {
  return {
    says: `IPv${family}: TLS after ${talk}'s own dialogue is found on a watched port, and decrypted`,
    async check(stage) {
      const said = await converse(stage, { talk, family, port: PORTS.talk, host: `www.${DOMAIN}` });
      assert.match(said.stdout, /the secret/, said.stderr);
      const { protocol, verdict, phase, reason } = await said.session();
      assert.deepEqual([protocol, verdict, phase], ["tls after an unknown dialogue", "decrypt", "certificate"]);
      return `${protocol}: ${reason}`;
    },
  };
}

function isDropped(family: Family): Claim {
  return {
    says: `IPv${family}: a host that policy drops is not reached by it`,
    async check(stage) {
      const said = await converse(stage, { talk: "irc", family, port: PORTS.talk, host: DROPPED });
      assert.doesNotMatch(said.stdout, /the secret/);
      const { verdict, rule } = await said.session();
      assert.deepEqual([verdict, rule], ["drop", "no such host"]);
      return `${verdict} by ${rule}`;
    },
  };
}

function isSeen(family: Family): Claim {
  return {
    says: `IPv${family}: TLS behind plaintext on another port is not called plaintext, and a host that policy drops is not reached`,
    async check(stage) {
      const passed = await converse(stage, { talk: "irc", family, port: PORTS.unwatched, host: `www.${DOMAIN}` });
      assert.match(passed.stdout, /the secret/, passed.stderr);
      const seen = await passed.session();
      assert.deepEqual([seen.protocol, seen.verdict], ["tls on an unwatched port", "bypass"]);
      const dropped = await converse(stage, { talk: "irc", family, port: PORTS.unwatched, host: DROPPED });
      assert.doesNotMatch(dropped.stdout, /the secret/);
      assert.equal((await dropped.session()).verdict, "drop");
      return `${seen.protocol}: ${seen.reason}`;
    },
  };
}

interface Conversation {
  readonly talk: Talk;
  readonly family: Family;
  readonly port: number;
  readonly host: string;
}

/** openssl speaks the dialogue and then TLS with a server that tells it a secret. */
async function converse(stage: Stage, { talk, family, port, host }: Conversation) {
  const { client, server } = stage.network;
  const { certificate, key } = stage.pki.server.ecdsa;
  const secureContext = tls.createSecureContext({ cert: readFileSync(certificate), key: readFileSync(key) });
  await using _server = await serve(server, port, (socket) => speak(socket, talk, secureContext));
  const since = Date.now();
  const address = server.address[family];
  const to = ["-connect", `${family === 6 ? `[${address}]` : address}:${port}`, "-servername", host];
  const roots = port === PORTS.talk ? stage.node.authorities : stage.pki.root.certificate;
  const args = ["s_client", ...to, "-starttls", talk, "-CAfile", roots, "-verify_return_error", "-ign_eof", "-quiet"];
  const { stdout, stderr } = await client.run("openssl", args, { input: "", within: 15_000 });
  const session = () =>
    until(`the session with port ${port}`, async () =>
      (await stage.node.sessions()).find((one) => one.server?.port === port && one.start >= since && one.end !== null),
    );
  return { stdout, stderr, session };
}

function speak(socket: Socket, talk: Talk, secureContext: tls.SecureContext): void {
  const { greeting, asked, agrees } = TALKS[talk];
  let heard = "";
  if (greeting.length > 0) socket.write(greeting);
  const listen = (bytes: Buffer) => {
    heard += bytes.toString("latin1");
    if (!heard.endsWith(asked.toString("latin1"))) return;
    socket.off("data", listen);
    socket.write(agrees);
    const stream = new tls.TLSSocket(socket, { isServer: true, secureContext });
    stream.on("error", () => socket.destroy()).once("secure", () => stream.end("the secret\n"));
  };
  socket.on("data", listen).on("end", () => socket.end());
}
