import { type ProxyHeaderSight, type ProxyHeaderSighting, sightProxyHeader } from "../detect/proxy-header.ts";
import type { End } from "../engine/end.ts";
import { NetworkError } from "../errors.ts";
import type { Side } from "../vocabulary.ts";
import { readUntil } from "./reading.ts";

/** A header that a client began with, and its bytes. */
export interface FoundHeader extends ProxyHeaderSight {
  readonly bytes: Buffer;
}

/** ms for what may be the beginning of a header, or of anything else. */
const PATIENCE = 500;

/** `gap`: ms between two bytes of what is a header very likely. */
export async function findProxyHeader(
  client: End,
  server: End,
  begun: Buffer,
  gap: number,
): Promise<FoundHeader | undefined> {
  let bytes = begun;
  for (let sighting: ProxyHeaderSighting = sightProxyHeader(bytes); ; ) {
    if (sighting.kind === "header") return { ...sighting, bytes: Buffer.from(bytes.subarray(0, sighting.length)) };
    if (sighting.kind !== "likely" && sighting.kind !== "unlikely") return undefined;
    const more = await readMore(client, server, sighting.kind, gap);
    if (!more) return undefined;
    ({ sighting, bytes } = more);
  }
}

/** Reads on until more is known than that; undefined: nothing more comes in time, or a server speaks that waits for no header. */
async function readMore(
  client: End,
  server: End,
  known: "likely" | "unlikely",
  gap: number,
): Promise<{ readonly sighting: ProxyHeaderSighting; readonly bytes: Buffer } | undefined> {
  let bytes: Buffer = Buffer.alloc(0);
  const judge = (side: Side, fresh: Buffer) => {
    if (side === "server") return { sighting: { kind: "no" }, bytes } as const;
    bytes = Buffer.concat([bytes, fresh]);
    const sighting = sightProxyHeader(bytes);
    return sighting.kind === known ? undefined : { sighting, bytes };
  };
  const wait = known === "likely" ? gap : PATIENCE;
  try {
    return (await readUntil({ client, server }, judge, { silence: wait, gap: wait })).answer;
  } catch (error) {
    if (known === "unlikely" && error instanceof NetworkError && error.code === "ETIMEDOUT") return undefined;
    throw error;
  }
}
