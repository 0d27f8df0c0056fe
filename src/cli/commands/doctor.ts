import type { Command } from "commander";
import type { DoctorReport, Stats } from "../../control/api.ts";
import { ConfigError, NetworkError } from "../../errors.ts";
import { openClient } from "../client.ts";
import { findNode } from "../place.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, plain, print, printJson, terminalWidth, wrap } from "../render.ts";

/** The exit code tells the worst. */
const CODES = { ok: 0, warning: 1, bad: 2 } as const;
type Status = keyof typeof CODES;

export function doctorCommand(): Command {
  return createCommand(
    "doctor",
    "Look at everything that the node needs, running or not, and say what to do. The exit code is 0 when all is well, 1 with a warning, 2 when something is bad.",
    ["doctor", "doctor -c clearline.yaml", "doctor --json | jq -r '.checks[] | select(.status != \"ok\").remedy'"],
  )
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const checks = await look(options.config);
      const status = checks.reduce<Status>(
        (worst, one) => (CODES[one.status] > CODES[worst] ? one.status : worst),
        "ok",
      );
      process.exitCode = CODES[status];
      if (options.json) return printJson({ status, checks }, 2);
      print(...checks.flatMap(lines));
    });
}

/** A node without a file may have been started with options, which only it knows: then it looks at itself. */
async function look(file: string | undefined): Promise<readonly DoctorReport["checks"][number][]> {
  const patient = await ask(file);
  if (patient.asked && file === undefined)
    return (await (await openClient(file)).ask<DoctorReport>("GET", "/doctor")).checks;
  const { examine } = await import("../../supervisor/doctor/examine.ts");
  return examine(patient);
}

/** What is known of the node before the doctor looks. */
interface Patient {
  readonly file: string | undefined;
  readonly dataDir: string | undefined;
  readonly asked: Stats | undefined;
  readonly silent: string | undefined;
  readonly closed: string | undefined;
}

/** Asks the node, if one runs and this user may. */
async function ask(file: string | undefined): Promise<Patient> {
  const nothing = { file, dataDir: undefined, asked: undefined, silent: undefined, closed: undefined };
  try {
    const { dataDir, runs } = await findNode(file);
    try {
      return { ...nothing, dataDir, asked: await (await openClient(file)).ask<Stats>("GET", "/stats") };
    } catch (error) {
      if (error instanceof ConfigError) return { ...nothing, dataDir, closed: error.message };
      if (!(error instanceof NetworkError)) throw error;
      return { ...nothing, dataDir, silent: runs || error.code !== "ECONNREFUSED" ? error.message : undefined };
    }
  } catch (error) {
    // What is wrong with the configuration is the first thing that the doctor says.
    if (error instanceof ConfigError || error instanceof AggregateError) return nothing;
    throw error;
  }
}

const MARKS: Readonly<Record<Status, string>> = {
  ok: color.green("ok     "),
  warning: color.yellow("warning"),
  bad: color.red("bad    "),
};
const NAME_WIDTH = 14;
const INDENT = " ".repeat(9 + NAME_WIDTH);

function lines({
  name,
  status,
  says,
  remedy,
}: {
  name: string;
  status: Status;
  says: string;
  remedy?: string | undefined;
}): string[] {
  const width = terminalWidth() - INDENT.length;
  const text = [says, ...(remedy === undefined ? [] : [`-> ${remedy}`])].flatMap((one) => wrap(plain(one), width));
  return text.map((line, index) =>
    index === 0 ? `${MARKS[status]}  ${name.padEnd(NAME_WIDTH)}${line}` : `${INDENT}${line}`,
  );
}
