import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { exitOnSignals } from "../../bench/processes.ts";
import { flatness, SHORTEST } from "./flatness.ts";
import { buildNetwork, networkObstacle } from "./network.ts";
import { plot } from "./plot.ts";
import { QUANTITIES, type Quantity, type Sample } from "./samples.ts";
import { type Soaked, soak } from "./soak.ts";
import { LONGEST } from "./transfer.ts";

/**
 * `npm run soak -- MINUTES` sends mixed sessions through a node: soak.ts says what. Its exit code is 1 if a session came to another end
 * than it should have, or if something was left, or grew.
 *
 * --minutes M    the same as MINUTES
 * --sessions N   so many sessions; without either, 100,000
 * --at-once N    sessions at one time, 64 by default
 * --longest N    bytes that a session carries each way at most, 65,536 by default
 * --loopback     as root too, only what needs no network of its own
 * --plot FILE    writes what the node held over time, as SVG
 */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      sessions: { type: "string" },
      minutes: { type: "string" },
      "at-once": { type: "string", default: "64" },
      longest: { type: "string", default: `${LONGEST}` },
      loopback: { type: "boolean", default: false },
      plot: { type: "string" },
    },
  });
  const minutes = values.minutes ?? positionals[0];
  const standard = minutes === undefined ? "100000" : "Infinity";
  const numbers = {
    sessions: numberOf("--sessions", values.sessions ?? standard),
    atOnce: numberOf("--at-once", values["at-once"]),
    longest: Math.min(numberOf("--longest", values.longest), LONGEST),
    seconds: numberOf("MINUTES", minutes ?? "Infinity") * 60,
  };
  const obstacle = values.loopback ? "--loopback" : networkObstacle();
  if (obstacle) process.stderr.write(`On loopback alone: ${obstacle}\n`);
  const soaked = await soak({
    ...numbers,
    network: obstacle ? undefined : await buildNetwork(),
    progress: (text) => process.stderr.write(`\r\x1b[K${text}`),
    onFault: (fault) => process.stderr.write(`\n${fault}\n`),
  });
  process.stderr.write("\n");
  if (values.plot !== undefined) writeFileSync(values.plot, plot(soaked.samples));
  process.exit(report(soaked) ? 0 : 1);
}

function numberOf(name: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`${name} is ${JSON.stringify(text)}, and not a number above 0`);
  return number;
}

/** Prints what there was. False: something was wrong. */
function report({ sessions, killed, changes, faults, samples }: Soaked): boolean {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  console.log(`${sessions} sessions, ${killed} of them killed, in ${Math.round(last.at)} s; ${faults.length} faults`);
  const { reloads, authorities, identities } = changes;
  console.log(`${reloads} reloads, ${authorities} renewals of the CA, ${identities} of the inbound certificate`);
  for (const fault of faults.slice(0, 20)) console.log(`  ${fault.slice(0, 400)}`);
  for (const what of Object.keys(QUANTITIES) as Quantity[])
    console.log(`${what.padEnd(14)} ${first[what]} at the start, ${last[what]} at the end`);
  const left = last.connections > 0 || last.ends > first.ends;
  if (left) console.log("connections are left");
  return isFlat(samples) && faults.length === 0 && !left;
}

function isFlat(samples: readonly Sample[]): boolean {
  if (samples.at(-1)!.at < SHORTEST) {
    console.log(`whether it is flat shows after ${SHORTEST / 60} minutes`);
    return true;
  }
  const judged = flatness(samples);
  for (const { quantity, early, late, isFlat } of judged)
    console.log(
      `${isFlat ? "flat  " : "GROWS "} ${quantity.padEnd(14)} ${early} in the second fifth, ${late} in the last`,
    );
  return judged.every(({ isFlat }) => isFlat);
}

// What was started and built goes when this process exits.
exitOnSignals();
await main();
