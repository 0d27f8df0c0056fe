import { type Command, InvalidArgumentError } from "commander";
import type { Report } from "../../control/api.ts";
import { openClient, queryOf } from "../client.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { color, facts, fullTime, print, printJson, table, verdictColor } from "../render.ts";

export function reportCommand(): Command {
  return createCommand(
    "report",
    "Show what the policy decided, or would have decided without monitor mode: by host, rule, version and suite.",
    ["report", "report --days 1", "report --json | jq '.hosts[] | select(.verdict == \"drop\")'"],
  )
    .option("--days <n>", "how many days back (default: 7)", readDays)
    .option("--json", "print JSON")
    .action(async ({ days, json, config }: CommonOptions & { days?: number; json?: true }) => {
      const report = await (await openClient(config)).ask<Report>("GET", `/report${queryOf({ days })}`);
      if (json) return printJson(report, 2);
      print(...page(report));
    });
}

function readDays(text: string): number {
  const days = Number(text);
  if (days > 0 && days <= 366) return days;
  throw new InvalidArgumentError("It must be a number of days, 366 at most.");
}

function page(report: Report): string[] {
  const { since, sessions, monitored, verdicts, failing } = report;
  return [
    ...facts([
      ["Since", fullTime(since)],
      ["Sessions", monitored > 0 ? `${sessions}, of which monitor mode let ${monitored} pass` : sessions],
      ...Object.entries(verdicts).map(([verdict, count]) => [TITLES[verdict] ?? verdict, count] as const),
      ["Failing", failing.sessions > 0 ? `${failing.sessions}, with ${failing.hosts.join(", ")}` : undefined],
    ]),
    ...section("Hosts", hosts(report)),
    ...section("Rules", rules(report)),
    ...section("Versions of TLS with servers", versions(report)),
    ...section("Weak suites", weakSuites(report)),
    ...section("Faults of certificates", faults(report)),
    ...section("Asymmetric: one direction alone crosses the node", asymmetric(report)),
  ];
}

const TITLES: Readonly<Record<string, string>> = {
  decrypt: "Decrypt",
  bypass: "Bypass",
  drop: "Drop",
  none: "Not judged",
};

function section(title: string, text: string | undefined): string[] {
  return text === undefined ? [] : ["", color.bold(title), text];
}

const count = { title: "SESSIONS", rank: 0, right: true, value: ({ sessions }: { sessions: number }) => sessions };
const verdict = {
  title: "VERDICT",
  rank: 0,
  value: ({ verdict }: { verdict: string }) => verdict,
  paint: ({ verdict }: { verdict: string }) => verdictColor(verdict),
};
const examples = {
  title: "HOSTS",
  rank: 2,
  min: 20,
  value: ({ hosts }: { hosts: readonly string[] }) => hosts.join(", "),
};

function hosts({ hosts }: Report): string | undefined {
  if (hosts.length === 0) return undefined;
  const host = { title: "HOST", rank: 0, min: 24, value: ({ host }: { host: string }) => host };
  const rule = { title: "RULE", rank: 1, min: 12, value: ({ rule }: { rule: string }) => rule };
  const reason = { title: "WHY", rank: 2, min: 20, value: ({ reason }: { reason: string }) => reason };
  return table([host, verdict, count, rule, reason], hosts);
}

function rules({ rules }: Report): string | undefined {
  if (rules.length === 0) return undefined;
  const rule = { title: "RULE", rank: 0, min: 16, value: ({ rule }: { rule: string }) => rule };
  const phase = { title: "PHASE", rank: 1, value: ({ phase }: { phase: string }) => phase };
  return table([rule, phase, verdict, count], rules);
}

function versions({ versions }: Report): string | undefined {
  const version = { title: "VERSION", rank: 0, value: ({ version }: { version: string }) => version };
  return versions.length === 0 ? undefined : table([version, count], versions);
}

function weakSuites({ weakSuites }: Report): string | undefined {
  const suite = { title: "SUITE", rank: 0, min: 24, value: ({ suite }: { suite: string }) => suite };
  const why = { title: "WEAKNESS", rank: 0, value: ({ weakness }: { weakness: string }) => weakness };
  return weakSuites.length === 0 ? undefined : table([suite, why, count, examples], weakSuites);
}

function faults({ faults }: Report): string | undefined {
  const fault = { title: "FAULT", rank: 0, value: ({ fault }: { fault: string }) => fault };
  return faults.length === 0 ? undefined : table([fault, count, examples], faults);
}

function asymmetric({ asymmetric }: Report): string | undefined {
  if (asymmetric.length === 0) return undefined;
  const listener = { title: "LISTENER", rank: 0, value: ({ listener }: { listener: string }) => listener };
  const packets = {
    title: "PACKETS",
    rank: 0,
    right: true,
    value: ({ packets }: { packets: number }) => packets,
  };
  return table([listener, packets], asymmetric);
}
