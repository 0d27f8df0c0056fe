import type { Socket } from "node:net";
import type { Agreement, Progress } from "../detect/starttls/dialogue.ts";
import { openDialogue } from "../detect/starttls/dialogues.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { readUntil } from "./reading.ts";

/**
 * Sends on a new connection what the client sent on an earlier one, each part once the server has answered the part before,
 * until the server agrees to TLS again. The client does not see the server's answers. `timeout` in ms, between two bytes.
 * Throws NetworkError, with the connection closed, when the server does not agree, or the dialogue cannot be repeated.
 */
export async function replayDialogue(socket: Socket, { protocol, script }: Agreement, timeout: number): Promise<void> {
  try {
    const dialogue = openDialogue(protocol);
    if (!script || !dialogue) throw refused(`The ${protocol} dialogue cannot be repeated`);
    const steps = [...script];
    const send = (): Progress["kind"] => {
      for (let [step] = steps; step && step.after <= dialogue.answers; [step] = steps) {
        steps.shift();
        socket.write(step.bytes);
        const { kind } = dialogue.feed("client", step.bytes);
        if (kind !== "more") return kind;
      }
      return "more";
    };
    let received = 0;
    const receive = (bytes: Buffer): { readonly agreed: boolean; readonly at: number } | undefined => {
      const progress = dialogue.feed("server", bytes);
      const at = received + (progress.kind === "upgrade" ? progress.at : bytes.length);
      received += bytes.length;
      const kind = progress.kind === "more" ? send() : progress.kind;
      if (kind === "more" && !dialogue.refused) return undefined;
      return { agreed: kind === "upgrade", at };
    };
    send();
    const reading = await readUntil({ client: socket }, (_side, bytes) => receive(bytes), {
      silence: timeout,
      gap: timeout,
    });
    const { answer, client: bytes } = reading;
    if (!answer?.agreed) throw refused(`The server did not agree to TLS in ${protocol} a second time`);
    if (answer.at < bytes.length) socket.unshift(bytes.subarray(answer.at));
  } catch (error) {
    socket.destroy();
    if (error instanceof PeerError) throw refused(`The server broke ${protocol} when the dialogue was repeated`, error);
    throw error;
  }
}

function refused(message: string, cause?: Error): NetworkError {
  return new NetworkError(message, "ECONNREFUSED", { cause });
}
