import type { Command } from "commander";

/** A command, which is loaded when it is called: to load all takes longer than most of them. */
interface CommandRow {
  readonly name: string;
  readonly load: () => Promise<Command>;
}

/** All commands, in the order of the help. */
export const COMMANDS: readonly CommandRow[] = [
  { name: "run", load: async () => (await import("./commands/run.ts")).runCommand() },
  { name: "check", load: async () => (await import("./commands/check.ts")).checkCommand() },
  { name: "sessions", load: async () => (await import("./commands/sessions.ts")).sessionsCommand() },
  { name: "session", load: async () => (await import("./commands/session.ts")).sessionCommand() },
  { name: "transactions", load: async () => (await import("./commands/transactions.ts")).transactionsCommand() },
  { name: "follow", load: async () => (await import("./commands/follow.ts")).followCommand() },
  { name: "har", load: async () => (await import("./commands/har.ts")).harCommand() },
  { name: "pcap", load: async () => (await import("./commands/pcap.ts")).pcapCommand() },
  { name: "end", load: async () => (await import("./commands/end.ts")).endCommand() },
  { name: "trouble", load: async () => (await import("./commands/trouble.ts")).troubleCommand() },
  { name: "top", load: async () => (await import("./commands/top.ts")).topCommand() },
  { name: "series", load: async () => (await import("./commands/series.ts")).seriesCommand() },
  { name: "stats", load: async () => (await import("./commands/stats.ts")).statsCommand() },
  { name: "explain", load: async () => (await import("./commands/explain.ts")).explainCommand() },
  { name: "report", load: async () => (await import("./commands/report.ts")).reportCommand() },
  { name: "doctor", load: async () => (await import("./commands/doctor.ts")).doctorCommand() },
  { name: "log", load: async () => (await import("./commands/log.ts")).logCommand() },
  { name: "fleet", load: async () => (await import("./commands/fleet.ts")).fleetCommand() },
  { name: "ca", load: async () => (await import("./commands/ca.ts")).caCommand() },
  { name: "keys", load: async () => (await import("./commands/keys.ts")).keysCommand() },
  { name: "cache", load: async () => (await import("./commands/cache.ts")).cacheCommand() },
  { name: "suggestions", load: async () => (await import("./commands/suggestions.ts")).suggestionsCommand() },
  { name: "bypass", load: async () => (await import("./commands/bypass.ts")).bypassCommand() },
  { name: "policy", load: async () => (await import("./commands/policy.ts")).policyCommand() },
  { name: "reload", load: async () => (await import("./commands/reload.ts")).reloadCommand() },
  { name: "token", load: async () => (await import("./commands/token.ts")).tokenCommand() },
  { name: "audit", load: async () => (await import("./commands/audit.ts")).auditCommand() },
  { name: "completion", load: async () => (await import("./commands/completion.ts")).completionCommand() },
  { name: "inline", load: async () => (await import("./commands/inline.ts")).inlineCommand() },
  { name: "lab", load: async () => (await import("./commands/lab.ts")).labCommand() },
];
