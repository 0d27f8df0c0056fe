import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { type TestOptions, test } from "node:test";
import type { End } from "../engine/end.ts";
import { END } from "../engine/layer.ts";
import { readBytes, readToEnd, writeAll } from "../engine/test-ends.ts";
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
      hop.ta.writeBytes(bytes.subarray(0, 1));
      const tb = await hop.tb;
      // An end has one task at a time: one direction after the other.
      const [up] = await Promise.all([readBytes(tb, bytes.length), writeAll(hop.ta, bytes.subarray(1))]);
      const [down] = await Promise.all([readBytes(hop.ta, bytes.length), writeAll(tb, bytes)]);
      assert.deepEqual(
        [up, down].map((read) => digest(read.bytes)),
        [digest(bytes), digest(bytes)],
      );
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
          say(hop.ta, `session ${index.toString().padStart(4, "0")}`);
          const tb = await hop.tb;
          return { hop, tb, heard: (await readBytes(tb, 12)).bytes.toString(), index };
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
      say(hop.ta, "something");
      const tb = await hop.tb;
      assert.equal(hop.tool, tool.name);
      // The chain counts Tb itself as the return.
      assert.ok(returns <= 1);
      end(hop, tb);
    },
  ],

  [
    "hands its ends over with nothing read, and waits for nothing on them",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      say(hop.ta, "early");
      const tb = await hop.tb;
      for (const { task, relay } of [hop.ta, tb]) assert.deepEqual([task, relay], [undefined, undefined]);
      assert.equal((await readBytes(tb, 5)).bytes.toString(), "early");
      end(hop, tb);
    },
  ],

  [
    "carries a half-close, and the answer that comes after it",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      say(hop.ta, "question");
      hop.ta.fin();
      const tb = await hop.tb;
      assert.equal(await text(tb), "question");
      say(tb, "answer");
      tb.fin();
      assert.equal(await text(hop.ta), "answer");
      end(hop, tb);
    },
  ],

  [
    "ends Tb when the session has closed Ta",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      hop.ta.close();
      await hop.tb.then(
        async (tb) => {
          await readToEnd(tb);
          tb.close();
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
          say(hop.ta, "nobody hears this");
          await hop.tb;
        });
      await assert.rejects(connected, NetworkError);
    },
  ],

  [
    "carries its sessions on after it was closed",
    async ({ tool, subject }) => {
      const hop = await tool.connect(subject(), () => {});
      say(hop.ta, "before");
      const tb = await hop.tb;
      await tool.close();
      say(hop.ta, " and after");
      hop.ta.fin();
      assert.equal(await text(tb), "before and after");
      tb.fin();
      assert.equal(await text(hop.ta), "");
      end(hop, tb);
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

function say(end: End, words: string): void {
  end.writeBytes(Buffer.from(words));
}

/** Reads to the end. */
async function text(end: End): Promise<string> {
  const { bytes, last } = await readToEnd(end);
  assert.equal(last, END);
  return bytes.toString();
}

function end({ ta }: Hop, tb: End): void {
  ta.close();
  tb.close();
}
