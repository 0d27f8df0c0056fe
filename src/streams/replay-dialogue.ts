import type { Agreement, Progress } from "../detect/starttls/dialogue.ts";
import { openDialogue } from "../detect/starttls/dialogues.ts";
import type { End } from "../engine/end.ts";
import { NetworkError, PeerError } from "../errors.ts";
import { readUntil } from "./reading.ts";

/**
 * Repeats to a new connection what the client said to an earlier one, each part once the server has answered what came before it,
 * until this server has agreed to TLS too. Nobody else hears what it says. `timeout` in ms, between two bytes. Throws
 * NetworkError, with the connection closed, when the server does not agree, or the dialogue cannot be repeated.
 */
export async function replayDialogue(server: End, { protocol, script }: Agreement, timeout: number): Promise<void> {
  try {
    const dialogue = openDialogue(protocol);
    if (!script || !dialogue) throw refused(`The ${protocol} dialogue cannot be repeated`);
    const steps = [...script];
    const say = (): Progress["kind"] => {
      for (let [step] = steps; step && step.after <= dialogue.answers; [step] = steps) {
        steps.shift();
        server.writeBytes(step.bytes);
        const { kind } = dialogue.feed("client", step.bytes);
        if (kind !== "more") return kind;
      }
      return "more";
    };
    let heard = 0;
    const hear = (bytes: Buffer): { readonly agreed: boolean; readonly at: number } | undefined => {
      const progress = dialogue.feed("server", bytes);
      const at = heard + (progress.kind === "upgrade" ? progress.at : bytes.length);
      heard += bytes.length;
      const kind = progress.kind === "more" ? say() : progress.kind;
      if (kind === "more" && !dialogue.refused) return undefined;
      return { agreed: kind === "upgrade", at };
    };
    say();
    const timing = { silence: timeout, gap: timeout };
    const { answer } = await readUntil({ client: server }, (_side, bytes) => hear(bytes), timing);
    if (!answer?.agreed) throw refused(`The server did not agree to TLS in ${protocol} a second time`);
    server.skip(answer.at);
  } catch (error) {
    server.close();
    if (error instanceof PeerError) throw refused(`The server broke ${protocol} when the dialogue was repeated`, error);
    throw error;
  }
}

function refused(message: string, cause?: Error): NetworkError {
  return new NetworkError(message, "ECONNREFUSED", { cause });
}
