import { join } from "node:path";
import { ConfigError } from "../errors.ts";
import { isAddressEntry } from "../policy/address-set.ts";
import { FAULTS } from "../vocabulary.ts";
import { defaultDataDir } from "./data-folder.ts";
import type { Document } from "./document.ts";
import { show } from "./problem.ts";

/** The options of `clearline run` that spare a configuration file. */
export interface Flags {
  /** Where it listens: a port on loopback, or an address and a port. */
  readonly listen?: readonly string[] | undefined;
  /** "explicit", or "forward:HOST:PORT". */
  readonly mode?: string | undefined;
  /** PEM files of trusted certificates. */
  readonly trust?: readonly string[] | undefined;
  /** Hosts, addresses and subnets that are never decrypted. */
  readonly bypass?: readonly string[] | undefined;
  /** Hosts and addresses whose certificates may have faults. */
  readonly insecure?: readonly string[] | undefined;
  /** false: the plaintext is not kept. */
  readonly capture?: boolean | undefined;
}

/** The configuration of `npm start`: it needs no file and no root. Its errors name the option that a mistake is in. */
export function embeddedDefault(flags: Flags): Document {
  const { problem, ...mode } = readMode(flags.mode ?? "explicit");
  const rules = [
    ...rulesFor("--bypass", flags.bypass ?? [], {}),
    ...rulesFor("--insecure", flags.insecure ?? [], EXCUSED),
  ];
  const root = {
    listeners: (flags.listen ?? ["8080"]).map((at, index) => ({
      name: `${mode.mode === "forward" ? "forward" : "proxy"}${index > 0 ? `-${index + 1}` : ""}`,
      ...mode,
      address: /^\d+$/.test(at) ? `127.0.0.1:${at}` : at,
    })),
    ...(flags.trust && { trust: { files: flags.trust } }),
    // Whoever starts a node by hand is its visitor and its operator, and has installed its CA.
    policy: { page: { signedBy: "primary", remedies: true }, rules: rules.map(({ rule }) => rule) },
    feeds: [
      ...(flags.capture === false
        ? []
        : [{ name: "captures", kind: "pcapng", directory: join(defaultDataDir(), "captures") }]),
      // In memory only: it shows what passes on the terminal.
      { name: "http", kind: "http" },
    ],
  };
  const options = new Map(rules.map(({ option }, index) => [`policy.rules[${index}]`, option]));
  return {
    root,
    errors: problem ? [new ConfigError("--mode", problem)] : [],
    locate: () => undefined,
    nameOf: (path) => optionFor(path, flags, options),
  };
}

interface Mode {
  readonly mode: "explicit" | "forward";
  readonly server?: string;
  readonly problem?: string;
}

function readMode(text: string): Mode {
  const [, server] = /^forward:(.+)$/.exec(text) ?? [];
  if (server !== undefined) return { mode: "forward", server };
  if (text === "explicit") return { mode: "explicit" };
  const way = text === "inline" ? "; an inline listener needs a file: --config" : "";
  return { mode: "explicit", problem: `--mode is ${show(text)}, neither explicit nor forward:HOST:PORT${way}` };
}

/** A certificate that was revoked was good once: somebody has lost its key. */
const EXCUSED = { action: "decrypt", match: { fault: FAULTS.filter((fault) => fault !== "revoked") } };

interface OptionRule {
  readonly option: string;
  readonly rule: object;
}

/** Rules for hosts and for addresses, which are conditions of their own. */
function rulesFor(
  option: string,
  values: readonly string[],
  { action = "bypass", match = {} }: { readonly action?: string; readonly match?: object },
): OptionRule[] {
  const isAddress = Map.groupBy(values, (value) => (isAddressEntry(value) ? "server" : "host"));
  return [...isAddress].map(([condition, found]) => ({
    option,
    rule: {
      name: condition === "host" ? option : `${option} address`,
      match: { ...match, [condition]: found },
      action,
    },
  }));
}

/** The option that a path of the configuration was made of. The rest of the path says nothing to who wrote an option. */
function optionFor(path: string, flags: Flags, rules: ReadonlyMap<string, string>): string {
  const listener = /^listeners\[\d+\]\.(address|server)/.exec(path)?.[1];
  if (listener === "server") return "--mode";
  if (listener === "address" && flags.listen) return "--listen";
  if (path.startsWith("trust.files")) return "--trust";
  const [rule = ""] = /^policy\.rules\[\d+\]/.exec(path) ?? [];
  return rules.get(rule) ?? path;
}
