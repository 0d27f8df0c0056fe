import type { End, Gate } from "../engine/end.ts";
import { PeerError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { type ExchangeRules, HelloExchange } from "../wire/hello-exchange.ts";

/**
 * Looks at the hellos of two peers while a relay carries them, and leaves the relay alone once the server has chosen the version: from
 * then on the kernel may move the bytes. Resolves with why the connection must be cut, or with undefined when all is well.
 */
export function watchHellos(
  client: End,
  server: End,
  rules: ExchangeRules,
  judge: (ders: readonly Buffer[]) => Promise<PeerError | undefined>,
): Promise<PeerError | undefined> {
  const { promise, resolve } = Promise.withResolvers<PeerError | undefined>();
  const exchange = new HelloExchange(rules);
  let isJudging = false;
  const ends: Readonly<Record<Side, End>> = { client, server };
  const finish = (fault: PeerError | undefined) => {
    if (!fault) exchange.accept();
    for (const end of Object.values(ends)) {
      // After a fault nothing may pass any more.
      end.gate = fault ? () => 0 : undefined;
      end.isUnmarked = false;
      end.held = "nothing";
      // The other side may have a byte that was held back.
      if (end.relay) end.loop.enqueue(end.relay);
    }
    resolve(fault);
  };
  const gateOf =
    (side: Side): Gate =>
    (bytes, isLast) => {
      try {
        const passed = exchange.feed(side, bytes);
        if (exchange.isSettled) finish(undefined);
        if (exchange.certificates && !isJudging) {
          isJudging = true;
          void judge(exchange.certificates).then(finish, (error: unknown) => server.fail(error));
        }
        // Nothing follows that could complete the message, but what is judged waits for that.
        if (isLast && isJudging && passed < bytes.length) ends[side].held = "reads";
        else if (isLast) return bytes.length;
        return passed;
      } catch (error) {
        if (!(error instanceof PeerError)) throw error;
        finish(error);
        return 0;
      }
    };
  client.isUnmarked = server.isUnmarked = true;
  client.gate = gateOf("client");
  server.gate = gateOf("server");
  return promise;
}
