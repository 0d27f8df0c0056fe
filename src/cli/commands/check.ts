import type { Command } from "commander";
import type { Loaded } from "../../config/load.ts";
import type { ConfigError } from "../../errors.ts";
import { type CommonOptions, createCommand } from "../program.ts";
import { amount, color, facts, plain, print, printJson } from "../render.ts";

export function checkCommand(): Command {
  return createCommand("check", "Print every error in a configuration. The exit code is 2 when there is one.", [
    "check -c clearline.yaml",
    "check -c clearline.yaml --json",
  ])
    .option("--json", "print JSON")
    .action(async (options: CommonOptions & { json?: true }) => {
      const { loadConfig } = await import("../../config/load.ts");
      const { checkPki } = await import("../../pki/check.ts");
      const { createKeyReader } = await import("../../pki/keys/key-source.ts");
      const { keyWarnings } = await import("../../pki/keys/inbound-key.ts");
      const { read } = createKeyReader();
      const now = Date.now();
      try {
        const loaded = await loadConfig(options.config, (given) => checkPki(given, now, read));
        const ofKeys = keyWarnings(loaded.keys.map(read), now, loaded.config.keyStore.warnBefore);
        const warnings = [...loaded.warnings, ...ofKeys];
        if (options.json) printJson({ errors: [], warnings }, 2);
        else print(...(await summary({ ...loaded, warnings })));
      } catch (error) {
        if (!(error instanceof AggregateError) || !options.json) throw error;
        const errors = error.errors.map(({ path, message, place }: ConfigError) => ({
          path,
          error: message,
          ...(place && { line: place.line, column: place.column }),
        }));
        printJson({ errors }, 2);
        process.exitCode = 2;
      }
    });
}

async function summary({ file, config, policy, lists, keys, warnings }: Loaded): Promise<string[]> {
  const { feedPlace } = await import("../../config/feed.ts");
  const { textOf } = await import("../../config/formats.ts");
  const { listenerPlace } = await import("../../config/listener.ts");
  const { toolPlace } = await import("../../config/tool.ts");
  const { listeners, tools, feeds, console, dataDir } = config;
  return [
    `${color.green("No error")} in ${plain(file ?? "the embedded default")}`,
    "",
    ...facts([
      ...listeners.map((one) => ["Listener", `${one.name}: ${one.mode} on ${listenerPlace(one)}`] as const),
      ["Console", textOf(console.address)],
      [
        "Policy",
        `${amount(policy.rules.length, "rule")}, ${amount(
          lists.reduce((sum, { entries }) => sum + entries, 0),
          "list entry",
          "list entries",
        )}, default ${policy.default}`,
      ],
      ["Keys", keys.length],
      ...tools.map(
        (one) => ["Tool", `${one.name}: ${one.kind} ${toolPlace(one)}, ${one.onFailure} when it fails`] as const,
      ),
      ...feeds.map((one) => ["Feed", `${one.name}: ${one.kind}, ${feedPlace(one)}`] as const),
      ["Data", dataDir],
    ]),
    ...warnings.map((warning) => color.yellow(`Warning: ${plain(warning)}`)),
  ];
}
