import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { type TestOptions, test } from "node:test";
import { NetworkError } from "../errors.ts";
import type { Hop, Tool, ToolSubject } from "./tool.ts";

export interface ToolUnderTest {
  readonly tool: Tool;
  /** A different session each time. */
  subject(): ToolSubject;
  /** Removes the tool between Ta and Tb: sent bytes are lost or refused. */
  breakTool(): Promise<void>;
  close(): Promise<void>;
}

const MIB = 1024 * 1024;
/** Sessions at the same time. */
const MANY = 40;

type Claim = readonly [claim: string, body: (under: ToolUnderTest) => Promise<void>];

/** Everything that the chain and the relay expect of a tool. */
const CLAIMS: readonly Claim[] = [
  [
    "carries bytes both ways, unchanged and in order",
    async ({ tool, subject }) => {
      const bytes = randomBytes(3 * MIB + 1);
      const hop = await tool.connect(subject(), () => {});
      hop.ta.write(bytes);
      const tb = await hop.tb;
      tb.write(bytes);
      const digests = await Promise.all([digestOf(hop.ta, bytes.length), digestOf(tb, bytes.length)]);
      assert.deepEqual(digests, [digest(bytes), digest(bytes)]);
      end(hop, tb);
    },
  ],

  [
    "pairs every session with itself",
    async ({ tool, subject }) => {
      const sessions = await Promise.all(
        Array.from({ length: MANY }, async (_, index) => {
          const about = subject();
          const hop = await tool.connect(about, () => {});
          hop.ta.write(`session ${index.toString().padStart(4, "0")}`);
          const tb = await hop.tb;
          return { hop, tb, heard: (await take(tb, 12)).toString(), index };
        }),
      );
      for (const { heard, index } of sessions) assert.equal(heard, `session ${index.toString().padStart(4, "0")}`);
      assert.equal(tool.counters().strangers, 0);
      for (const { hop, tb } of sessions) end(hop, tb);
    },
  ],

  [
    "reports once that a session came back, at the latest when Tb is connected",
    async ({ tool, subject }) => {
      let returns = 0;
      const hop = await tool.connect(subject(), () => {
        returns += 1;
      });
      hop.ta.write("something");
      const tb = await hop.tb;
      assert.equal(hop.tool, tool.name);
      // The chain counts Tb itself as the return.
      assert.ok(returns <= 1);
      end(hop, tb);
    },
  ],

  [
    "hands its ends over paused",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      hop.ta.write("early");
      const tb = await hop.tb;
      assert.deepEqual([hop.ta.isPaused(), tb.isPaused()], [true, true]);
      assert.equal((await take(tb, 5)).toString(), "early");
      end(hop, tb);
    },
  ],

  [
    "carries a half-close, and the answer that comes after it",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      hop.ta.end("question");
      const tb = await hop.tb;
      assert.equal(await text(tb), "question");
      tb.end("answer");
      assert.equal(await text(hop.ta), "answer");
    },
  ],

  [
    "ends Tb when the session has closed Ta",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      hop.ta.destroy();
      await hop.tb.then(
        async (tb) => {
          tb.resume();
          if (!tb.closed && !tb.readableEnded) await Promise.race([once(tb, "end"), once(tb, "close")]);
          tb.destroy();
        },
        (error: unknown) => assert.ok(error instanceof NetworkError),
      );
    },
  ],

  [
    "rejects with a NetworkError when the tool is not there",
    async ({ tool, subject, breakTool }) => {
      await breakTool();
      const connected = tool
        .connect(subject(), () => {})
        .then(async (hop) => {
          hop.ta.write("nobody hears this");
          await hop.tb;
        });
      await assert.rejects(connected, NetworkError);
    },
  ],

  [
    "carries its sessions on after it was closed",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      hop.ta.write("before");
      const tb = await hop.tb;
      await tool.close();
      hop.ta.end(" and after");
      assert.equal(await text(tb), "before and after");
      tb.end();
      assert.equal(await text(hop.ta), "");
    },
  ],
];

export function testTool(name: string, options: TestOptions, open: () => Promise<ToolUnderTest>): void {
  for (const [claim, body] of CLAIMS) {
    test(`${name} ${claim}`, options, async () => {
      const under = await open();
      try {
        await body(under);
      } finally {
        await under.close();
      }
    });
  }
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function digestOf(socket: Socket, length: number): Promise<string> {
  return digest(await take(socket, length));
}

/** Reads exactly `length` bytes. */
async function take(socket: Socket, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let missing = length;
  await new Promise<void>((resolve, reject) => {
    const read = (part: Buffer) => {
      parts.push(part);
      missing -= part.length;
      if (missing > 0) return;
      socket.off("data", read);
      socket.pause();
      resolve();
    };
    socket.on("data", read);
    socket.once("close", () => reject(new Error(`It closed ${missing} bytes early`)));
    socket.resume();
  });
  return Buffer.concat(parts);
}

/** Reads to the end. */
async function text(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of socket.iterator({ destroyOnReturn: false })) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

function end({ ta }: Hop, tb: Socket): void {
  ta.destroy();
  tb.destroy();
}
