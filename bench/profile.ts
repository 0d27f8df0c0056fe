import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { flameGraph, type Profile } from "./flame.ts";
import type { LoadName } from "./loads.ts";
import type { SubjectName } from "./subjects.ts";

/**
 * `npm run profile -- --load sessions --plot FILE` draws a flame graph of a worker under one load of the bench.
 *
 * --load NAME      a load of bench/loads.ts: "sessions", "down 1", "down 32", "up 1", "up 32"
 * --subject NAME   "clearline", or another node of bench/subjects.ts
 * --seconds N      how long, 10 by default
 * --plot FILE      where the SVG goes
 */

/** A profile is a worker's when the story is in it. */
const STORY = "src/flow/flow.ts";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      load: { type: "string", default: "sessions" },
      subject: { type: "string", default: "clearline" },
      seconds: { type: "string", default: "10" },
      plot: { type: "string", default: "flame.svg" },
    },
  });
  const folder = mkdtempSync(join(tmpdir(), "clearline-profile-"));
  // The workers write it, as a user of their own.
  chmodSync(folder, 0o1777);
  try {
    // The bench hands its environment to what it starts, as it was when it was loaded.
    process.env["NODE_OPTIONS"] = `--cpu-prof --cpu-prof-interval=500 --cpu-prof-dir=${folder}`;
    const [{ startOrigin }, { startSubject }, { LOADS }, { stop }] = await Promise.all([
      import("./origin.ts"),
      import("./subjects.ts"),
      import("./loads.ts"),
      import("./processes.ts"),
    ]);
    const origin = await startOrigin();
    const subject = await startSubject(values.subject as SubjectName, origin);
    const plan = { rounds: 1, seconds: Number(values.seconds), connects: 0, idle: 1 };
    const around = { plan, subjects: [subject], once: new Map() };
    await LOADS[values.load as LoadName].of(subject, around);
    await stop(subject.program!);
    const worker = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), "utf8"))
      .find((text) => text.includes(STORY));
    if (!worker) throw new Error("No worker wrote a profile");
    writeFileSync(
      values.plot,
      flameGraph(`A worker: ${values.subject}, ${values.load}`, JSON.parse(worker) as Profile),
    );
    console.log(`wrote ${values.plot}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
process.exit();
