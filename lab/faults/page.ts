import { FAULTS } from "./all.ts";
import type { Result } from "./fault.ts";

type Row = Pick<Result, "outcome" | "measured"> & { readonly fault: { readonly name: string } };

/** The results in a page. */
export function readRows(text: string): readonly Row[] {
  const rows = text.matchAll(/^\| `([\w-]+)` \|.*\| (held|broken|skipped): ((?:[^|]|\\\|)*) \|$/gm);
  return [...rows].map(([, name = "", outcome = "", measured = ""]) => ({
    fault: { name },
    outcome: outcome as Result["outcome"],
    measured,
  }));
}

/** docs/faults.md. The last result of each fault counts. */
export function page(results: readonly Row[], machine: string): string {
  const latest = new Map(results.map((result) => [result.fault.name, result]));
  const rows = FAULTS.flatMap(({ name, about, over, promise }) => {
    const found = latest.get(name);
    if (found === undefined) return [];
    return `| \`${name}\` | ${about} | ${over} | ${promise} | ${found.outcome}: ${cell(found.measured)} |`;
  });
  return `# Faults, and what was measured

    npm run -s faults                          # all of them, as root
    npm run -s faults -- --list                # their names
    npm run -s faults -- --only worker-killed  # one
    npm run -s faults -- --docs                # all of them, and this page anew

Each fault is made under traffic: new TLS sessions at a steady rate, long downloads whose SHA-256 is compared, and idle
sessions which must answer afterwards. A promise that is broken fails the run. The short form, \`--quick\`, is among the tests.

This page is written by the harness, last on ${machine}. Times are of this machine under other load; they are no bounds.

| fault | what is done | over | promise | measured |
|---|---|---|---|---|
${rows.join("\n")}
`;
}

function cell(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, " ").replaceAll(/(?<!\\)\|/g, "\\|");
}
